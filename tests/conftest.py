"""Fixtures for every test: real servers, started when the first test asks for one, and names nobody else uses."""

from __future__ import annotations

import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.servers import Servers


def pytest_configure() -> None:
    """SIGTERM ends a run the way Ctrl-C does, so that the servers go too; and Ctrl-C ends what a test starts, also where a shell
    began the run in the background, whose children would ignore it."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who runs tests side by side tells them by their ids: of those that share one, one is run, and nobody misses the others."""
    shared = [test for test, count in Counter(item.nodeid for item in items).items() if count > 1]
    if shared:
        raise pytest.UsageError(f"these tests share an id: {shared}")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All servers of this run; `servers.private_postgres()` and its kin give one that a test may kill and restart."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture
def unique() -> str:
    """12 lower-case hex digits after a letter: good for queues, keys, tables and databases."""
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def postgres_url(servers: Servers, unique: str) -> Iterator[str]:
    """A fresh, empty database of the shared PostgreSQL, as `postgresql+psycopg://…`; dropped after the test."""
    with servers.database(f"twofold_{unique}") as url:
        yield url


@pytest.fixture
def broker_url(servers: Servers) -> str:
    """The shared RabbitMQ: prefix what you declare with `unique`, and delete it."""
    return servers.broker_url


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The shared Redis: prefix your keys with `unique`, and delete them."""
    return servers.redis_url


@pytest.fixture
def search_url(servers: Servers) -> str:
    """The shared OpenSearch: prefix your indexes with `unique`, and delete them."""
    return servers.search_url
