"""All servers of one test run, started when first asked for and ended together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg

from tests.servers.opensearch import OpenSearch
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Postgres, Standby, libpq
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.server import Server

AnyServer = TypeVar("AnyServer", bound=Server)


class Servers:
    """Shared servers by URL (`postgres_url`, `broker_url`, `redis_url`, `search_url`), and private ones for tests that hurt them.

    A private server is a context manager's value with `.url`, `.kill()` (SIGKILL), `.stop()`, `.start()`, `.restart()`.
    """

    def __init__(self, postgres: type[Postgres] = Postgres) -> None:
        """`postgres`: of which kind the shared PostgreSQL is."""
        self._postgres = postgres
        self._folder: Path | None = None
        self._numbers = count(1)
        self._shared: dict[str, Server] = {}

    @property
    def postgres_url(self) -> str:
        """A database whose user may create databases, as `postgresql+psycopg://…`."""
        return self._url("TWOFOLD_TEST_POSTGRES_URL", self._postgres)

    @property
    def broker_url(self) -> str:
        return self._url("TWOFOLD_TEST_BROKER_URL", RabbitMQ)

    @property
    def redis_url(self) -> str:
        return self._url("TWOFOLD_TEST_REDIS_URL", Redis)

    @property
    def search_url(self) -> str:
        return self._url("TWOFOLD_TEST_SEARCH_URL", OpenSearch)

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a fresh, empty database of the shared PostgreSQL; dropped at the end of the block."""
        admin_url = self.postgres_url
        with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        yield admin_url.rpartition("/")[0] + "/" + name
        with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def private_postgres(self) -> Iterator[Postgres]:
        with self._private(Postgres) as server:
            yield server

    @contextmanager
    def private_pgbouncer(self, url: str, ignored: str = "") -> Iterator[PgBouncer]:
        """A pooler in transaction mode in front of this server, which ignores these parameters of a connection."""
        with self._private(lambda folder: PgBouncer(folder, urlsplit(url).port or 5432, ignored)) as server:
            yield server

    @contextmanager
    def pgbouncer(self, url: str, ignored: str = "") -> Iterator[str]:
        """The way to this database through such a pooler."""
        with self.private_pgbouncer(url, ignored) as server:
            yield server.url.rpartition("/")[0] + "/" + url.rpartition("/")[2]

    @contextmanager
    def standby(self, primary: Postgres) -> Iterator[Standby]:
        with self._private(lambda folder: Standby(folder, primary)) as server:
            yield server

    @contextmanager
    def private_rabbitmq(self) -> Iterator[RabbitMQ]:
        with self._private(RabbitMQ) as server:
            yield server

    @contextmanager
    def private_redis(self) -> Iterator[Redis]:
        with self._private(Redis) as server:
            yield server

    @contextmanager
    def private_opensearch(self) -> Iterator[OpenSearch]:
        with self._private(OpenSearch) as server:
            yield server

    def close(self) -> None:
        """Stop the shared servers and remove the folder."""
        for server in self._shared.values():
            server.stop()
        self._shared.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _url(self, variable: str, kind: type[Server]) -> str:
        if os.environ.get(variable):
            return os.environ[variable]
        if kind.name not in self._shared:
            server = kind(self._new_folder(kind.name))
            # Known before it is started: a Ctrl-C while it starts must find it.
            self._shared[kind.name] = server
        self._shared[kind.name].start()
        return self._shared[kind.name].url

    @contextmanager
    def _private(self, kind: Callable[[Path], AnyServer]) -> Iterator[AnyServer]:
        server = kind(self._new_folder("private"))
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)

    def _new_folder(self, name: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="twofold-test-"))
            self._folder.chmod(0o755)
        return self._folder / f"{name}-{next(self._numbers)}"
