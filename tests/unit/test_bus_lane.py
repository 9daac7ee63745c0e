"""How long a command would wait, told from what left before it and what is heard of that; time is a number here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from twofold.bus.lane import PROBE_SECONDS, RETRY_SECONDS_MAX, QueueTime, Waiting
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = 0.1


class Lane:
    """First in, first out; decides so many commands a second, and tells all of it or nothing."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.queue = QueueTime()
        self.inside: list[tuple[str, float]] = []
        self.waited = 0.0
        self.now = 0.0
        self.owed = 0.0
        self.refused = self.accepted = 0
        self.is_heard = True

    def put(self, count: int, seconds_max: float = 10.0) -> None:
        let_in = [number for number in range(count) if self.queue.refusal(self.now, seconds_max) is None]
        self.refused += count - len(let_in)
        self.accepted += len(let_in)
        ids = [f"{self.now:.2f}/{number}" for number in let_in]
        if ids:
            self.queue.leaves([waiting(command_id) for command_id in ids], self.now)
            self.inside += [(command_id, self.now) for command_id in ids]

    def step(self) -> None:
        self.now += STEP
        self.owed = min(self.owed + self.per_second * STEP, float(len(self.inside)))
        decided, self.inside = self.inside[: int(self.owed)], self.inside[int(self.owed) :]
        self.owed -= len(decided)
        for command_id, put_at in decided:
            self.waited = self.now - put_at
            if self.is_heard:
                self.queue.decided(command_id, self.now)

    def run(self, seconds: float, per_second: float, seconds_max: float = 10.0) -> None:
        for _ in range(int(seconds / STEP)):
            self.put(int(per_second * STEP), seconds_max)
            self.step()


def waiting(command_id: str) -> Waiting:
    envelope = Envelope(command_id, "Note", "note-1", msgspec.Raw(b"{}"), "f" * 32, NOW)
    nobody: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
    return Waiting(envelope, nobody, 1, 0.0)


@pytest.fixture(autouse=True)
def no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: loop)


def test_at_twice_what_a_lane_decides_commands_wait_as_long_as_allowed_and_no_longer() -> None:
    lane = Lane(per_second=1_000)
    lane.run(60, per_second=2_000)
    assert lane.waited == pytest.approx(10, rel=0.1)
    assert lane.refused / (lane.refused + lane.accepted) == pytest.approx(0.42, abs=0.05), "half, once ten seconds' worth is in"


def test_back_to_normal_means_nobody_is_refused() -> None:
    lane = Lane(per_second=1_000)
    lane.run(60, per_second=2_000)
    lane.run(25, per_second=500)
    refused = lane.refused
    lane.run(20, per_second=900)
    assert lane.refused == refused
    assert lane.waited == pytest.approx(STEP)


def test_below_what_a_lane_decides_nobody_is_refused_whatever_comes_at_once() -> None:
    lane = Lane(per_second=1_000)
    for _ in range(10):
        lane.put(5_000)
        lane.run(6, per_second=100)
    assert lane.refused == 0


def test_a_lane_that_stands_is_full_when_its_oldest_has_waited_so_long() -> None:
    lane = Lane(per_second=0)
    lane.run(10, per_second=100)
    assert lane.refused == 0
    lane.run(30, per_second=100)
    assert lane.accepted == pytest.approx(10 * 100 + 30 / PROBE_SECONDS, rel=0.02)
    refusal = lane.queue.refusal(lane.now, 10.0)
    assert refusal is not None and refusal.is_overload
    assert (refusal.neighbour, 1 <= refusal.retry_after_seconds <= RETRY_SECONDS_MAX) == (Neighbour.WORKERS, True)


def test_workers_that_come_back_find_clients_again_within_moments() -> None:
    lane = Lane(per_second=0)
    lane.run(40, per_second=100)
    lane.per_second = 1_000
    lane.run(4, per_second=100)
    refused = lane.refused
    lane.run(20, per_second=100)
    assert lane.refused == refused


@pytest.mark.parametrize("first_seconds", [0.2, 1.0, 2.0])
def test_a_worker_that_took_over_and_begins_slowly_has_nobody_refused(first_seconds: float) -> None:
    """A deployment: the lane stands until its new worker is there, whose first second is not how fast it is."""
    lane = Lane(per_second=1_000)
    lane.run(5, per_second=150, seconds_max=30)
    for per_second, seconds in ((0, 6.0), (15, first_seconds), (1_000, 10)):
        lane.per_second = per_second
        lane.run(seconds, per_second=150, seconds_max=30)
    assert lane.refused == 0


def test_lost_news_refuse_nobody_for_long() -> None:
    """The last command's outcome was not heard, and nothing came since: one that is let in finds out."""
    lane = Lane(per_second=1_000)
    lane.run(2, per_second=100)
    lane.is_heard = False
    lane.run(1, per_second=100)
    lane.is_heard = True
    lane.now += 100
    assert lane.queue.seconds(lane.now) > 10 and lane.queue.overdue(lane.now, 2.0)
    lane.run(3, per_second=100)
    refused = lane.refused
    lane.run(10, per_second=100)
    assert refused <= 100 and lane.refused == refused and not lane.queue.overdue(lane.now, 2.0)


def test_what_did_not_get_there_is_not_waited_for() -> None:
    queue = QueueTime()
    batch = [waiting("a"), waiting("b")]
    queue.leaves(batch, 0.0)
    assert queue.seconds(5.0) == 5.0
    queue.came_back(batch)
    assert (queue.seconds(5.0), queue.overdue(5.0, 1.0)) == (0.0, [])
