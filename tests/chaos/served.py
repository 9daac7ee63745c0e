"""The served system to be hurt: private servers, two gateways, two workers, two projectors, four slices a view.

Workers reach PostgreSQL and RabbitMQ through proxies, so that their connections can be cut without hurting anybody else's.
Every system has a database and a namespace of its own, so that several may use the same servers one after the other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg

from tests.chaos.checker import Checker
from tests.chaos.proxy import AppendWatch, Proxy
from tests.chaos.rooms import Room, wait_until
from tests.chaos.served_stores import ServedStores
from tests.servers import Servers
from tests.servers.postgres import Postgres, libpq
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.server import free_port
from twofold.kernel.domain import Domain, load_domain
from twofold.kernel.instances import VIEW_PREFIX

LANES = SLICES = 4
MEMBERS_SECONDS_MAX = 60.0
MIGRATE_SECONDS_MAX = 60.0
PLAIN = ("twofold",)
ROWS_URL = "TWOFOLD_READ_DATABASE_URL"
TWICE = ("tests.chaos.planted", "publish-twice")


@dataclass(frozen=True)
class Backends:
    """Servers of one's own, which may be killed."""

    postgres: Postgres
    rabbitmq: RabbitMQ
    redis: Redis


@contextmanager
def private_backends(servers: Servers) -> Iterator[Backends]:
    with servers.private_postgres() as postgres, servers.private_rabbitmq() as rabbitmq, servers.private_redis() as redis:
        yield Backends(postgres, rabbitmq, redis)


@dataclass(frozen=True)
class Plan:
    """How many of each room. `modules` runs a room by another entry point than `python -m twofold`."""

    domain: str = "shop"
    gateways: int = 2
    workers: int = 2
    projectors: int = 2
    processes: int = 0
    """Without any, nobody looks at the rows of processes: they stand where they are."""
    modules: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class Served:
    """A context manager. `cut_appends` is how many of the workers' next appends lose their connection after the commit."""

    def __init__(self, backends: Backends, folder: Path, plan: Plan | None = None) -> None:
        self.backends = backends
        self.plan = plan or Plan()
        self.name = f"chaos{secrets.token_hex(3)}"
        self.folder = folder / self.name
        self.cut_appends = 0
        self.database_url = backends.postgres.url.rpartition("/")[0] + f"/{self.name}"
        self._closing = ExitStack()

    broker_proxy: Proxy
    database_proxy: Proxy
    stores: ServedStores
    checker: Checker

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._open(opening)
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _open(self, opening: ExitStack) -> None:
        self.folder.mkdir(parents=True)
        self._make_database()
        watch = Proxy("127.0.0.1", self.backends.postgres.port, lambda: AppendWatch(self._is_to_be_cut))
        self.database_proxy = opening.enter_context(watch)
        self.broker_proxy = opening.enter_context(Proxy("127.0.0.1", self.backends.rabbitmq.port))
        plan = self.plan
        self.gateways = [self.room("gateway", number) for number in range(plan.gateways)]
        self.workers = [self.room("workers", number) for number in range(plan.workers)]
        self.projectors = [self.room("readmodels", number) for number in range(plan.projectors)]
        self.processes = [self.room("processes", number) for number in range(plan.processes)]
        self.stores = self.new_stores()
        opening.callback(self.stores.close)
        self.checker = Checker(self._domain, self.stores)
        for room in self.rooms:
            opening.callback(room.stop)
            room.start()
        for room in self.rooms:
            room.wait_ready()
        wait_until("every room has its members", self._is_complete, MEMBERS_SECONDS_MAX, self.tails)

    @property
    def rooms(self) -> list[Room]:
        return [*self.gateways, *self.workers, *self.projectors, *self.processes]

    @property
    def urls(self) -> list[str]:
        return [room.url for room in self.gateways]

    def room(
        self,
        room: str,
        number: int,
        module: Sequence[str] | None = None,
        database_port: int | None = None,
        broker_port: int | None = None,
    ) -> Room:
        """One process of this system, not started; with a way of its own to database or broker, when its port is given."""
        environment = self._environment(room)
        if database_port is not None:
            environment["TWOFOLD_DATABASE_URL"] = by_way_of(self.database_url, database_port)
        if broker_port is not None:
            environment["TWOFOLD_BROKER_URL"] = by_way_of(self.backends.rabbitmq.url, broker_port)
        port = free_port() if room == "gateway" else None
        if port is not None:
            environment["TWOFOLD_PORT"] = str(port)
        return Room(f"{room}-{number}", [room], environment, self.folder, port, module or self.plan.modules.get(room, PLAIN))

    def new_stores(self) -> ServedStores:
        log, rows = libpq(self.database_url), libpq(self._environment("")[ROWS_URL])
        return ServedStores(log, rows, self.backends.redis.url, self._domain, self.name)

    def tails(self) -> str:
        return "\n".join(f"--- {room.name}\n{room.tail()}" for room in self.rooms)

    def _environment(self, room: str) -> dict[str, str]:
        """Settings of a room; for workers by way of the proxies."""
        database, broker = self.database_url, self.backends.rabbitmq.url
        if room == "workers":
            database = by_way_of(database, self.database_proxy.port)
            broker = by_way_of(broker, self.broker_proxy.port)
        return {
            "TWOFOLD_DOMAIN": self.plan.domain,
            "TWOFOLD_DATABASE_URL": database,
            ROWS_URL: self.database_url,
            "TWOFOLD_BROKER_URL": broker,
            "TWOFOLD_REDIS_URL": self.backends.redis.url,
            "TWOFOLD_SLICES": str(SLICES),
            "TWOFOLD_METRICS_PORT": str(free_port()),
            "TWOFOLD_NAMESPACE": self.name,
            **self.plan.environment,
        }

    def _make_database(self) -> None:
        with psycopg.connect(libpq(self.backends.postgres.url), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{self.name}"')
        migrate = self.command("migrate")
        migrate.environment.setdefault("TWOFOLD_LANES", str(LANES))
        migrate.start()
        migrate.wait_done(MIGRATE_SECONDS_MAX)

    def command(self, *arguments: str) -> Room:
        """A command of the command line, with this system's settings, not started."""
        return Room(arguments[0], arguments, self._environment(""), self.folder)

    def _is_complete(self) -> bool:
        members = dict(self.stores.select("SELECT room, count(*) FROM members GROUP BY room"))
        plan = self.plan
        wanted = {"gateway": plan.gateways, "workers": plan.workers, "readmodels": plan.projectors}
        return members == wanted | ({"processes": plan.processes} if plan.processes else {})

    @property
    def _domain(self) -> Domain:
        """With the views that somebody folds here."""
        domain = load_domain(self.plan.domain)
        folded = {name: view for name, view in domain.views.items() if self.plan.processes or not name.startswith(VIEW_PREFIX)}
        return replace(domain, views=folded)

    def _is_to_be_cut(self) -> bool:
        if self.cut_appends <= 0:
            return False
        self.cut_appends -= 1
        return True


def by_way_of(url: str, port: int) -> str:
    """The same URL at another port of this machine."""
    parts = urlsplit(url)
    assert parts.port is not None
    return parts._replace(netloc=parts.netloc.removesuffix(f":{parts.port}") + f":{port}").geturl()
