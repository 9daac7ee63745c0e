"""A view whose log has lost its tail is diverged: it stops and says so, and never goes on as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import create_engine, text

from tests.contract.projections import Bugs, Log, Said, domain, projector, reached, running, until, words
from tests.contract.viewstores import (
    KINDS,
    Place,
    SqlPlace,
    place,
    rows_url,  # noqa: F401
)
from twofold.kernel.ports import History, ViewStore
from twofold.monitoring.lag import read_lag
from twofold.subscriptions.subscription import TICK_SECONDS

SLICES = 3


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


class Follower:
    """A view, its log, and what is said of it."""

    def __init__(self, where: Place) -> None:
        self.where = where
        self.codec, self.view, _ = domain(Bugs(), "redis" if where.__class__.__name__ == "RedisPlace" else "sql")
        self.store = where.open()
        self.generation = self.store.make(self.view, SLICES)
        self.log = Log()
        self.stream = "talk-1"

    def say(self, word: str, *names: str) -> None:
        self.log.append(Said(names or ("ann", "bob", "cid"), word), self.stream)

    def lose_after(self, position: int) -> None:
        """And whatever is written from now on is something else."""
        self.stream = "talk-2"
        del self.log.events[position:]

    def follows(self) -> Any:
        return running(projector(self.log, self.store, (self.view,), self.codec), self.generation.slice_ids())

    def state(self) -> str:
        events = self.log.events
        history = SimpleNamespace(
            head=lambda: (len(events), None),
            page=self.log.page,
            recorded_at=lambda positions: {at: events[at - 1].recorded_at for at in positions if at <= len(events)},
        )
        clock = SimpleNamespace(now=lambda: datetime.now(UTC))
        return read_lag(cast(History, history), self.store, self.store, ["heard"], cast(Any, clock)).views["heard"].state

    def words(self) -> tuple[str, ...]:
        return words(self.store, self.view, ["ann"])["ann"]


def positions(store: ViewStore) -> set[int]:
    return set(store.positions("heard").values())


@pytest.fixture
def follower(where: Place) -> Follower:
    follower = Follower(where)
    for number in range(10):
        follower.say(f"old{number}")
    with follower.follows():
        until(reached(follower.store, follower.generation, 10), "all slices at the head")
    assert follower.state() == "live"
    return follower


@pytest.mark.parametrize("written_since", [0, 3, 12], ids=["behind", "not yet there", "beyond"])
def test_a_view_beside_its_log_stops_and_says_so(follower: Follower, written_since: int) -> None:
    """Restored from a backup: the projector skipped the new events and was `live`, with lag 0, for ever."""
    follower.lose_after(3)
    for number in range(written_since):
        follower.say(f"new{number}", "dan")
    assert follower.state() == "diverged"
    with follower.follows():
        follower.say("more")
        until(lambda: follower.state() == "diverged", "a look")
        follower.say("and more")
    assert positions(follower.store) == {10}, "nothing is folded onto rows of a log that is gone"
    assert follower.words()[-1] == "old9" and follower.state() == "diverged"


def test_a_running_projector_notices_before_it_folds_on(follower: Follower) -> None:
    """A failover does not end it: in its memory it stands where the log does, only that it is another log."""
    with follower.follows():
        follower.say("last")
        until(reached(follower.store, follower.generation, 11), "the head")
        replaced = follower.log.events[:3]
        more = Log()
        more.events = list(replaced)
        for number in range(20):
            more.append(Said(("ann",), f"new{number}"), stream="talk-2")
        follower.log.events[:] = more.events
        until(lambda: follower.state() == "diverged", "it is seen")
        follower.say("and on")
        time.sleep(3 * TICK_SECONDS)
    assert positions(follower.store) == {11} and follower.words()[-1] == "last"


def test_a_view_that_had_not_seen_the_lost_events_goes_on(follower: Follower) -> None:
    """Whatever stands on an event that is still there has missed nothing."""
    for number in range(5):
        follower.say(f"lost{number}")
    follower.lose_after(10)
    with follower.follows():
        follower.say("new")
        until(reached(follower.store, follower.generation, 11), "the head")
    assert follower.words()[-2:] == ("old9", "new") and follower.state() == "live"


def test_rows_that_are_folded_anew_are_not_diverged_any_more(follower: Follower) -> None:
    """A fact that a rebuild from the beginning ends, by itself, also for a projector that runs."""
    follower.lose_after(3)
    follower.say("new")
    with follower.follows():
        until(lambda: follower.state() == "diverged", "a look")
        follower.where.empty()
        until(reached(follower.store, follower.generation, 4), "the head")
    assert follower.words() == ("old0", "old1", "old2", "new") and follower.state() == "live"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[SqlPlace]:
    with place(request.param, request) as opened:
        assert isinstance(opened, SqlPlace)
        yield opened


def test_checkpoints_from_before_are_taken_over_and_get_their_mark_with_the_next_step(database: SqlPlace) -> None:
    """Release 0.1.0 kept positions alone; its projectors may run beside ours while a deploy lasts."""
    follower = Follower(database)
    with follower.follows():
        follower.say("one")
        until(reached(follower.store, follower.generation, 1), "the head")
    engine = create_engine(database._engines[0].url)
    table = "read.checkpoints" if engine.dialect.name == "postgresql" else "checkpoints"
    database.keep_checkpoints_as("0.1.0")
    follower.store = database.open()
    follower.generation = follower.store.make(follower.view, SLICES)
    assert set(follower.store.marks().values()) == {""} and follower.state() == "live"
    follower.say("two")
    with follower.follows():
        until(reached(follower.store, follower.generation, 2), "the head")
    assert all(mark.startswith("2-") for mark in follower.store.marks().values())
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET position = 9"))
    engine.dispose()
    assert follower.state() == "diverged"
