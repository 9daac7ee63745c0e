"""What waits on the lanes, and what may be executed next: order, merging, bounds, failures. No I/O, a clock of its own."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.bus.dispatch.lanes import CAREFUL_TAKES, DELIVERY_COMMANDS_MAX, RETRY_SECONDS_MAX, Delivery, LaneMessage, Lanes
from twofold.kernel.envelope import Envelope

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """Lanes with sessions that are strings, and a clock that stands still until it is set."""

    def __init__(self, lanes: int = 2) -> None:
        self.seconds = 0.0
        self.lanes = Lanes(lambda: self.seconds)
        self.sessions = {lane: f"first stay on {lane}" for lane in range(lanes)}
        for lane, session in self.sessions.items():
            self.lanes.open(lane, session)
        self.held = set(range(lanes))

    def add(self, lane: int, token: int, commands: int = 1, session: object = None, takes: int = 0) -> None:
        envelopes = [Envelope(f"{lane}-{token}-{n}", "Note", "note-1", msgspec.Raw(b"{}"), "f", NOW) for n in range(commands)]
        self.lanes.add(LaneMessage(lane, envelopes, 10, token, session or self.sessions[lane], takes))

    def next(self) -> Delivery | None:
        return self.lanes.next(self.held)

    def reopen(self, lane: int) -> None:
        self.lanes.close(lane)
        self.sessions[lane] += "+"
        self.lanes.open(lane, self.sessions[lane])


def tokens(delivery: Delivery | None, lane: int) -> list[int]:
    assert delivery is not None
    return [batch.token for batch in delivery.messages if batch.lane == lane]


def test_lanes_that_wait_are_merged_and_then_in_flight() -> None:
    bench = Bench()
    bench.add(0, 1)
    bench.add(1, 1)
    bench.add(0, 2)
    delivery = bench.next()
    assert tokens(delivery, 0) == [1, 2]
    assert tokens(delivery, 1) == [1]
    bench.add(0, 3)
    assert bench.next() is None, "a lane must not have two deliveries in flight"


def test_a_delivery_is_bounded_and_takes_the_longest_wait_first() -> None:
    """A long lane must not starve a short one."""
    bench = Bench()
    for token in range(5):
        bench.add(0, token, commands=400)
        if token == 1:
            bench.add(1, 1)
    first = bench.next()
    assert tokens(first, 0) == [0, 1]
    assert first is not None and len(first.envelopes) <= DELIVERY_COMMANDS_MAX
    first.is_committed = True
    bench.lanes.finish(first)
    assert tokens(bench.next(), 1) == [1]


def test_a_committed_delivery_is_settled() -> None:
    bench = Bench()
    bench.add(0, 1)
    delivery = bench.next()
    assert delivery is not None
    delivery.is_committed = True
    assert bench.lanes.finish(delivery) == delivery.messages


def test_a_failed_delivery_waits_in_place_and_alone() -> None:
    """The same batches again, no more and no fewer, after a pause that grows to a bound; the neighbours flow."""
    bench = Bench()
    bench.add(0, 1)
    bench.add(1, 1)
    delivery = bench.next()
    bench.add(0, 2)
    assert delivery is not None
    for failures in range(1, 12):
        assert bench.lanes.finish(delivery) == []
        assert bench.next() is None
        pause = bench.lanes.due_seconds(bench.held)
        assert pause == pytest.approx(min(0.1 * 2 ** (failures - 1), RETRY_SECONDS_MAX))
        bench.seconds += pause + 1e-9
        delivery = bench.next()
        assert tokens(delivery, 0) == [1]
        assert tokens(delivery, 1) == [], "a lane that failed shares no delivery"
        if failures == 1:
            other = bench.next()
            assert tokens(other, 1) == [1]
            assert other is not None
            other.is_committed = True
            bench.lanes.finish(other)
        assert delivery is not None


def test_a_settle_of_an_earlier_stay_is_dropped() -> None:
    """The lane was left and opened again: its batches come again, and the old ones' tokens mean something else now."""
    bench = Bench(1)
    bench.add(0, 1)
    old = bench.next()
    bench.reopen(0)
    bench.add(0, 1)
    assert bench.next() is None, "the old delivery is still in flight"
    assert old is not None
    old.is_committed = True
    assert bench.lanes.finish(old) == []
    assert tokens(bench.next(), 0) == [1]


def test_a_batch_of_an_earlier_stay_is_dropped() -> None:
    bench = Bench(1)
    bench.reopen(0)
    bench.add(0, 1, session="first stay on 0")
    assert bench.next() is None


def test_what_may_have_ended_those_who_took_it_before_is_delivered_carefully_and_alone() -> None:
    """Once is nothing, for lanes change hands; and no healthy lane waits for a careful one, nor shares its fate."""
    bench = Bench()
    bench.add(0, 1, takes=CAREFUL_TAKES)
    bench.add(1, 1, takes=CAREFUL_TAKES - 1)
    bench.add(0, 2)
    careful = bench.next()
    assert careful is not None and careful.is_careful and careful.lanes == [0] and tokens(careful, 0) == [1, 2]
    usual = bench.next()
    assert usual is not None and not usual.is_careful and usual.lanes == [1]
    bench.lanes.finish(careful)
    bench.seconds += RETRY_SECONDS_MAX
    again = bench.next()
    assert again is not None and again.is_careful and tokens(again, 0) == [1, 2], (
        "a careful delivery that failed is careful again"
    )
    again.is_committed = True
    bench.lanes.finish(again)
    bench.add(0, 3)
    after = bench.next()
    assert after is not None and not after.is_careful


def test_a_healthy_lane_in_front_leaves_the_suspect_behind() -> None:
    """The other way round: what arrived first is healthy."""
    bench = Bench()
    bench.add(0, 1)
    bench.add(1, 1, takes=CAREFUL_TAKES)
    usual, careful = bench.next(), bench.next()
    assert usual is not None and usual.lanes == [0] and not usual.is_careful
    assert careful is not None and careful.lanes == [1] and careful.is_careful


def test_a_lane_closed_while_in_flight_is_not_offered_before_it_is_finished() -> None:
    """Whoever opens it again has the same messages: two deliveries of them at a time could overtake each other."""
    bench = Bench(lanes=1)
    bench.add(0, 1)
    delivery = bench.next()
    assert delivery is not None
    bench.reopen(0)
    bench.add(0, 1)
    assert bench.lanes.is_in_flight(0) and bench.next() is None
    delivery.is_committed = True
    assert bench.lanes.finish(delivery) == [], "what came in an earlier stay is settled by nobody"
    assert not bench.lanes.is_in_flight(0)
    assert tokens(bench.next(), 0) == [1]


def test_a_lane_that_is_not_held_is_not_offered() -> None:
    bench = Bench()
    bench.add(0, 1)
    bench.held = {1}
    assert bench.next() is None


def test_a_delivery_shows_no_payload() -> None:
    """Dramatiq writes the arguments of a message into its logs."""
    bench = Bench(1)
    bench.add(0, 1, commands=3)
    assert repr(bench.next()) == "Delivery(lanes=[0], commands=3)"


@given(st.lists(st.tuples(st.sampled_from(["add", "next", "commit", "fail", "reopen"]), st.integers(0, 2)), max_size=120))
def test_every_lane_is_first_in_first_out_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Against a broker in memory that gives again, in order, what was not settled before the lane was left."""
    bench = Bench(3)
    unsettled: dict[int, list[int]] = {lane: [] for lane in range(3)}
    in_flight: list[Delivery] = []
    committed: dict[int, list[int]] = {lane: [] for lane in range(3)}
    last = 0
    for what, number in steps:
        if what == "add":
            last += 1
            unsettled[number].append(last)
            bench.add(number, last)
        elif what == "next" and (delivery := bench.next()) is not None:
            assert not {lane for other in in_flight for lane in other.lanes} & set(delivery.lanes)
            in_flight.append(delivery)
        elif what in ("commit", "fail") and in_flight:
            delivery = in_flight.pop(number % len(in_flight))
            delivery.is_committed = what == "commit"
            if delivery.is_committed:
                for batch in delivery.messages:
                    committed[batch.lane].append(batch.token)
            for batch in bench.lanes.finish(delivery):
                assert unsettled[batch.lane].pop(0) == batch.token
            bench.seconds += RETRY_SECONDS_MAX
        elif what == "reopen":
            bench.reopen(number)
            for token in unsettled[number]:
                bench.add(number, token)
    for ids in committed.values():
        firsts = list(dict.fromkeys(ids))
        assert firsts == sorted(firsts)
