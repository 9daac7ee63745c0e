"""What the port LaneEpochs promises: epochs follow each other one at a time, whoever asks, however often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from twofold.database.postgres import LOG, connect
from twofold.eventstore.identity import adopt
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres.lane_epochs import PostgresLaneEpochs
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import Epoch, LaneEpochs, LaneState
from twofold.testing.memory_bus import MemoryLaneEpochs

Begun = Callable[[int | None], LaneEpochs]


@pytest.fixture(params=["memory", "postgres"])
def begun(request: pytest.FixtureRequest) -> Iterator[Begun]:
    """The port, over a log whose first lanes are so many; None: that was not given any."""
    if request.param == "memory":
        yield MemoryLaneEpochs
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    engine = connect(url, 4, LOG)

    def begin(count: int | None) -> LaneEpochs:
        if count is not None:
            adopt(url, load_domain("examples.counter"), count)
        return PostgresLaneEpochs(engine)

    yield begin
    engine.dispose()


def test_a_log_has_lanes_once_it_was_given_some(begun: Begun) -> None:
    with pytest.raises(Misconfigured):
        begun(None).state()
    epochs = begun(2)
    assert epochs.state() == LaneState(Epoch(0, 2))
    assert not epochs.claim(1.0), "there is nothing to see to"


def test_workers_begin_an_epoch_when_every_lane_of_the_one_before_is_drained(begun: Begun) -> None:
    epochs = begun(2)
    assert epochs.open(3)
    assert epochs.state() == LaneState(Epoch(1, 3), Epoch(0, 2))
    assert epochs.state().working == Epoch(0, 2)
    for lane in (0, 0, 256):
        epochs.drained(lane)
    assert epochs.state().working == Epoch(0, 2), "a lane told twice, or one of the next epoch, is no second lane"
    epochs.drained(1)
    assert epochs.state() == LaneState(Epoch(1, 3), Epoch(0, 2), frozenset({0, 1}), is_over=True)
    assert epochs.state().working == Epoch(1, 3)
    assert list(Epoch(1, 3).lanes) == [256, 257, 258]


def test_an_epoch_is_opened_when_nothing_is_left_of_the_last_but_one(begun: Begun) -> None:
    epochs = begun(1)
    assert epochs.open(2)
    assert not epochs.open(3)
    epochs.forget(0)
    assert epochs.state().old == Epoch(0, 1), "an epoch that is not over was forgotten"
    epochs.drained(0)
    assert not epochs.open(3), "what came in beside the fence would be left behind"
    epochs.forget(1)
    epochs.forget(0)
    assert epochs.state() == LaneState(Epoch(1, 2))
    assert epochs.open(3)
    assert epochs.state() == LaneState(Epoch(2, 3), Epoch(1, 2))


def test_one_at_a_time_is_told_to_see_to_it(begun: Begun) -> None:
    epochs = begun(1)
    epochs.open(2)
    assert epochs.claim(0.0)
    assert epochs.claim(60.0)
    assert not epochs.claim(60.0)
    epochs.defer(0.0)
    assert epochs.claim(0.0)
    epochs.drained(0)
    epochs.defer(0.0)
    assert not epochs.claim(60.0), "what was accepted beside the fence may not be there yet"


def test_nobody_opens_an_epoch_while_the_state_is_pinned(begun: Begun) -> None:
    """Who binds lanes of an epoch he takes for the newest would else take the fence down again."""
    epochs = begun(1)
    opened = threading.Event()

    def open_another() -> None:
        epochs.open(2)
        opened.set()

    with epochs.pinned() as state:
        thread = threading.Thread(target=open_another)
        thread.start()
        assert not opened.wait(0.3)
        assert state.newest == Epoch(0, 1)
    assert opened.wait(10)
    thread.join()
    with epochs.pinned() as state:
        assert state.newest == Epoch(1, 2)


def test_an_epoch_whose_opening_is_lost_is_taken_back_before_anything_else_is_opened(begun: Begun) -> None:
    epochs = begun(2)
    epochs.take_back(2)
    assert epochs.state() == LaneState(Epoch(0, 2)), "it would not be the next one"
    epochs.take_back(1)
    epochs.take_back(1)
    state = epochs.state()
    assert state == LaneState(Epoch(0, 2), Epoch(1, 1), is_over=True)
    assert state.is_taking_back and state.working == Epoch(0, 2)
    assert not epochs.open(3) and epochs.claim(1.0)
    epochs.forget(1)
    assert epochs.state() == LaneState(Epoch(0, 2)) and epochs.open(3)
    assert not epochs.state().is_taking_back
