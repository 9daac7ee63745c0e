"""A private PostgreSQL, durable against the death of its processes (not of the machine: no fsync)."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.binaries import path_of
from tests.servers.server import POLL_SECONDS, Server, ServerFailed

CONNECTIONS_MAX = 300
REPLICA_SECONDS_MAX = 30.0


class Postgres(Server):
    name = "postgresql"
    user = "postgres"
    fsync = "off"
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
            "fsync": self.fsync,
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


class DurablePostgres(Postgres):
    """As it is installed: what it has committed outlives the machine. For what is measured."""

    fsync = "on"


class Standby(Postgres):
    """A replica of a running one. `detach` it, and what its primary commits from then on is lost when it takes over."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        super().__init__(folder)
        self._primary = primary

    def prepare(self) -> None:
        Server.prepare(self)
        backup = ["-D", str(self.folder / "data"), "-d", libpq(self._primary.url), "--write-recovery-conf", "--no-sync"]
        self.run([path_of("pg_basebackup"), *backup, "--checkpoint=fast"])

    def detach(self) -> None:
        """Once it has all that was committed until now, it gets no more."""
        [[until]] = self._ask(self._primary.url, "SELECT pg_current_wal_lsn()")
        self._wait(f"SELECT pg_last_wal_replay_lsn() >= '{until}'")
        self._ask(self.url, "ALTER SYSTEM SET primary_conninfo = ''")
        self._ask(self.url, "SELECT pg_reload_conf()")
        self._wait("SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")

    def take_over(self) -> None:
        """The primary is killed; this one answers at its address from now on."""
        self.stop()
        self._primary.kill()
        self.port = self._primary.port
        self.start()
        self._ask(self.url, "SELECT pg_promote()")
        self._wait("SELECT NOT pg_is_in_recovery()")

    def _wait(self, question: str) -> None:
        deadline = time.monotonic() + REPLICA_SECONDS_MAX
        while not self._ask(self.url, question)[0][0]:
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name}: not within {REPLICA_SECONDS_MAX:.0f} s: {question}")
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _ask(url: str, sql: Any) -> list[Any]:
        with psycopg.connect(libpq(url), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


def libpq(url: str) -> str:
    """The URL without SQLAlchemy's driver name."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
