"""Projectors and real accidents: processes killed, stopped and continued, servers killed under them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.projections import Bugs, domain, projector, reached, running, until, words
from tests.contract.projector_child import NAMES, SLICES, log_of, store_at
from tests.contract.viewstores import EVERYTHING
from tests.servers import Servers
from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.stores.sql import SqlViewStore, connect

ROOT = Path(__file__).parents[2]
COUNT = 1_500


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    if kind == "redis":
        return f"{request.getfixturevalue('redis_url')}#{request.getfixturevalue('unique')}"
    return f"sqlite:///{request.getfixturevalue('tmp_path') / 'views.db'}"


@contextmanager
def child(url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.contract.projector_child", url, str(COUNT)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        yield process
    finally:
        process.kill()
        process.wait(10)


def expected() -> dict[str, tuple[str, ...]]:
    heard: dict[str, tuple[str, ...]] = {}
    for number in range(COUNT):
        for name in dict.fromkeys((NAMES[number % 7], NAMES[number % 5])):
            heard[name] = (*heard.get(name, ()), f"w{number}")
    return heard


def ready(url: str) -> tuple[ViewStore, AnyView, Generation]:
    _, view, _ = domain(Bugs(), "redis" if url.startswith("redis") else "sql")
    store = store_at(url)
    return store, view, store.make(view, SLICES)


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_a_projector_killed_again_and_again_folds_every_event_once(kind: str, request: pytest.FixtureRequest) -> None:
    """Rows and checkpoint move together, so there is no moment at which a kill can part them."""
    url = url_of(kind, request)
    chance = random.Random(7)
    for _ in range(5):
        with child(url) as process:
            time.sleep(chance.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
    with child(url) as process:
        assert process.stdout is not None and process.stdout.readline() == "head\n"
    store, view, generation = ready(url)
    assert reached(store, generation, COUNT)()
    assert words(store, view, NAMES) == expected()


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_projector_stopped_past_its_lease_and_continued_does_no_harm(kind: str, request: pytest.FixtureRequest) -> None:
    """It goes on with rows in memory that somebody else has moved on from."""
    url = url_of(kind, request)
    with child(url) as zombie:
        store, _, generation = ready(url)
        until(lambda: max(store.positions("heard").values()) > 50, "it has begun")
        os.kill(zombie.pid, signal.SIGSTOP)
        with child(url) as successor:
            time.sleep(0.1)
            os.kill(zombie.pid, signal.SIGCONT)
            assert successor.stdout is not None and successor.stdout.readline() == "head\n"
            assert zombie.stdout is not None and zombie.stdout.readline() == "head\n"
    store, view, generation = ready(url)
    assert reached(store, generation, COUNT)()
    assert words(store, view, NAMES) == expected()


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_killed_under_a_projector_costs_time_only(kind: str, servers: Servers) -> None:
    """What a crashed server forgets it forgets of rows and checkpoint alike, and the log still has it."""
    private = servers.private_postgres() if kind == "postgres" else servers.private_redis()
    codec, view, _ = domain(Bugs(), "redis" if kind == "redis" else "sql")
    log = log_of(COUNT)
    with private as server:
        store = store_at(server.url if kind == "postgres" else f"{server.url}#rows")
        generation = store.make(view, SLICES)
        with running(projector(log, store, (view,), codec, page_events=5), generation.slice_ids()):
            for _ in range(2):
                until(lambda: max(store.positions("heard").values()) > 20, "it has begun")
                server.kill()
                time.sleep(0.3)
                server.start()
                until(lambda: _answers(store), "the server is back")
            until(reached(store, generation, COUNT), "the head")
            assert words(store, view, NAMES) == expected()


def _answers(store: ViewStore) -> bool:
    try:
        store.positions("heard")
    except Unavailable:
        return False
    return True


def test_a_question_meets_no_error_after_a_restart_of_the_database(servers: Servers) -> None:
    """Every pooled connection is dead then; the first gateway request after it should not pay for that."""
    with servers.private_postgres() as server:
        store = SqlViewStore(connect(server.url, 4))
        generation = store.make(EVERYTHING, SLICES)
        store.positions()
        server.restart()
        assert set(store.positions()) == set(generation.slice_ids())
        assert store.get("everything", ["a"])[0].row is None
