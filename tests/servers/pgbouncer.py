"""A private PgBouncer in transaction mode, in front of a PostgreSQL: fewer connections than clients, so that they share them."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from tests.servers.binaries import path_of
from tests.servers.postgres import libpq
from tests.servers.server import Server

POOL_SIZE = 3
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={postgres_port} user=twofold
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 300
query_timeout = 15
idle_transaction_timeout = 3
ignore_startup_parameters = {ignored}
"""


class PgBouncer(Server):
    name = "pgbouncer"
    user = "postgres"

    def __init__(self, folder: Path, postgres_port: int, ignored: str) -> None:
        super().__init__(folder)
        self._postgres_port = postgres_port
        self._ignored = ignored

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://twofold@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        super().prepare()
        known = {"port": self.port, "postgres_port": self._postgres_port, "pool_size": POOL_SIZE, "ignored": self._ignored}
        path = self.folder / "pgbouncer.ini"
        path.write_text(CONFIGURATION.format(**known))
        shutil.copymode(self.folder, path)

    def command(self) -> list[str]:
        return [path_of("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        try:
            psycopg.connect(libpq(self.url), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
