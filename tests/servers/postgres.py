"""A private PostgreSQL, durable against the death of its processes (not of the machine: no fsync)."""

from __future__ import annotations

import signal

import psycopg

from tests.servers.binaries import path_of
from tests.servers.server import Server

CONNECTIONS_MAX = 300


class Postgres(Server):
    name = "postgresql"
    user = "postgres"
    stop_signal = signal.SIGINT
    """PostgreSQL's "fast" shutdown: SIGTERM would wait for the clients."""

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://twofold@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        super().prepare()
        options = ["-U", "twofold", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self.run([path_of("initdb"), "-D", str(self.folder / "data"), *options])

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "fsync": "off",
            "timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [path_of("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def is_ready(self) -> bool:
        try:
            psycopg.connect(libpq(self.url), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def libpq(url: str) -> str:
    """The URL without SQLAlchemy's driver name."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
