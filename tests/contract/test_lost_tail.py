"""A log that lost its tail: a promoted replica, a restored backup. Who knows the tail finds out before he relies on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

import examples.counter
from tests.contract.eventstores import Place, SameViews, decided, envelope, last_event, place, placed
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Conflict
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Loaded, NewEvent
from twofold.kernel.ports import Log
from twofold.workers.execute import Executor

DOMAIN = domain_of(examples.counter)


@pytest.fixture(params=["postgres", "sqlite", "memory"])
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


def asked(by: int) -> Envelope:
    data = msgspec.json.encode({"counter_id": "a", "by": by})
    fingerprint = fingerprint_of("Count", data)
    return Envelope(new_command_id(), "Count", "counter-a", msgspec.Raw(data), fingerprint, datetime.now(UTC))


def worker(store: Log) -> Executor:
    return Executor(DOMAIN, Codec(DOMAIN), store, LocalBell(), LocalOutcomes())


@pytest.mark.parametrize("versions", [(3,), (5, 6)])
def test_a_version_that_does_not_follow_the_last_one_is_refused(where: Place, versions: tuple[int, ...]) -> None:
    """Version 6 after 3: two events that nobody can ever read were counted as if they had happened."""
    store = where.open()
    store.append([placed("order-1")])
    late, neighbour = placed("order-1", version=versions[-1], count=len(versions)), placed("order-2")
    with pytest.raises(Conflict):
        store.append([neighbour, late])
    assert (store.head()[0], store.version("order-1"), store.version("order-2")) == (1, 1, 0)
    assert store.outcomes([late.envelope.command_id, neighbour.envelope.command_id]) == {}


def test_a_gap_is_refused_on_every_way_of_appending(where: Place) -> None:
    """Retried, parked beside it, with inline rows: all of them end in the same log."""
    store = where.open()

    class Nothing(SameViews):
        def hears(self, events: object) -> bool:
            return True

        def lock(self, connection: object, events: object) -> None: ...

        def write(self, connection: object, locked: object, events: object) -> None: ...

    parked = decided(envelope("order-2"), status="parked", code="bug", error="a traceback")
    with pytest.raises(Conflict):
        store.append([placed("order-1", version=2), parked])
    with pytest.raises(Conflict):
        store.append([placed("order-1", version=2)], Nothing())
    with pytest.raises(Conflict):
        store.append([decided(envelope("order-1", attempt=2), version=2, count=1)])
    assert store.head()[0] == 0 and store.parked() == []


def test_a_gap_inside_a_batch_is_refused(where: Place) -> None:
    """Neither database is asked: what the batch itself says is wrong already."""
    store = where.open()
    first, second = placed("order-1"), placed("order-1", version=3)
    with pytest.raises(Conflict):
        store.append([first, second])
    one = placed("order-3", version=2, count=2)
    swapped: tuple[NewEvent, ...] = one.events[::-1]
    with pytest.raises(Conflict):
        store.append([msgspec.structs.replace(one, events=swapped)])
    assert store.head()[0] == 0


def test_reading_after_an_event_that_is_not_there_is_refused(where: Place) -> None:
    """Nothing new and nothing at all look the same, unless the question says what was there."""
    store = where.open()
    store.append([placed("order-1", version=3, count=3), placed("order-2")])
    known = {stream: last_event(store.stream(stream)[-1]) for stream in ("order-1", "order-2")}
    assert store.read(known) == Loaded({}, {})
    where.lose_after(1)
    for stream, last in known.items():
        with pytest.raises(Conflict):
            store.read({stream: last, "order-3": None})
    store.append([placed("order-1", version=2), placed("order-1", version=3), placed("order-1", version=4)])
    with pytest.raises(Conflict):
        store.read({"order-1": known["order-1"]})


def test_the_same_command_in_the_place_it_had_is_another_event(where: Place) -> None:
    """A client that sends again what was lost finds another stream: the state it left behind must go all the same."""
    store = where.open()
    store.append([placed("order-1"), placed("order-1", 2), again := placed("order-1", 3)])
    known = last_event(store.stream("order-1")[-1])
    where.lose_after(1)
    store.append([placed("order-1", 2)])
    store.append([again])
    with pytest.raises(Conflict):
        store.read({"order-1": known})


def test_a_worker_that_knows_the_lost_tail_decides_on_what_is_there(where: Place) -> None:
    """A cached state of events that never were: its successes left gaps, its refusals were wrong, and nobody noticed."""
    store = where.open()
    warm = worker(store)
    for by in (1, 2, 997):
        warm.execute([asked(by)])
    where.lose_after(1)
    (outcome,) = warm.execute([asked(5)])
    assert (outcome.status, outcome.version, outcome.position) == ("succeeded", 2, 2)
    assert [event.version for event in store.stream("counter-a")] == [1, 2]


def test_a_worker_notices_also_when_others_have_written_on(where: Place) -> None:
    """By then the versions fit: only who made them tells."""
    store = where.open()
    warm = worker(store)
    for by in (1, 2, 990):
        warm.execute([asked(by)])
    where.lose_after(1)
    for by in (3, 4):
        worker(store).execute([asked(by)])
    (outcome,) = warm.execute([asked(500)])
    assert (outcome.status, outcome.version) == ("succeeded", 4)
