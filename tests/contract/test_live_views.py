"""Live views on every log: a row is what a fold of the log up to its position makes of it, and nothing of it is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import twofold.readmodels.live.folding
from tests.contract.eventstores import PostgresPlace, place
from tests.contract.hotel import GUESTS, NAMES, STAYS, Booked, Guest, Left, Name, Named, Told, happened, hotel, said_then, stored
from tests.contract.projections import QuietBell, refold
from tests.contract.projections import running as folding
from tests.contract.projections import until as wait_until
from tests.contract.test_partitions import keep_snapshot
from twofold.eventstore import partitions
from twofold.kernel.codec import Codec
from twofold.kernel.errors import Detached, Malformed, TooMuchToFold
from twofold.kernel.log import Decision
from twofold.kernel.ports import Log
from twofold.kernel.rows import Found, Query, Row
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.live.store import LiveViewStore
from twofold.readmodels.projection.projector import Projector
from twofold.readmodels.stores.routed import RoutedViewStore
from twofold.subscriptions.log_cache import log_of
from twofold.testing.memory_rows import MemoryViewStore

KINDS = ("memory", "sqlite", "postgres")


class Rig:
    """A log, two live views, and the stays that one of them looks through, folded only when told to."""

    def __init__(self, events: Log) -> None:
        self.events = events
        self.codec = Codec(hotel(GUESTS, NAMES, STAYS))
        self.stays = MemoryViewStore()
        self.live = LiveViewStore(events, self.codec, lambda: self.rows)
        self.rows = RoutedViewStore({"guests": self.live, "names": self.live, "stays": self.stays})
        self.slices = self.rows.make(STAYS, 2).slice_ids()
        self.made = {view.name: self.rows.make(view, 2) for view in (GUESTS, NAMES)}
        self.projector = Projector(log_of(events, self.codec, [STAYS]), self.stays, [[STAYS]], QuietBell())

    def append(self, *decisions: Decision) -> int:
        return self.events.append(decisions).head

    def fold_stays(self) -> None:
        head = self.events.head()[0]
        with folding(self.projector, self.slices):
            wait_until(lambda: set(self.stays.positions().values()) == {head}, "the stays are folded")

    def found(self, view: AnyView, key: str) -> Found:
        [found] = self.rows.get(view.name, [key])
        return found


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with place(request.param, request) as where:
        made = Rig(where.open())
        yield made
        made.rows.close()


def test_a_row_is_there_as_soon_as_its_command_is_decided_and_stands_at_the_head(rig: Rig) -> None:
    """Nothing follows the log for it, so there is nothing to wait for."""
    slice_id = SliceId("names", rig.made["names"].number, 0)
    assert rig.found(NAMES, "ann") == Found(None, slice_id, 0)
    head = rig.append(happened("guest-ann", 1, Named("ann", "Ann"), Told("hello")), happened("guest-bob", 1, Named("bob", "Bob")))
    assert rig.found(NAMES, "ann") == Found(Row("ann", Name("ann", "Ann", 1), 1), slice_id, head)
    rig.append(happened("guest-ann", 3, Named("ann", "Anna")))
    assert rig.found(NAMES, "ann") == Found(Row("ann", Name("ann", "Anna", 3), 4), slice_id, 4)
    rig.append(happened("guest-ann", 4, Named("ann", "")))
    assert rig.found(NAMES, "ann") == Found(None, slice_id, 5), "a row that is gone"
    assert rig.rows.get("names", ["bob", "cid", "a\0", "\ud800"])[1:] == [Found(None, slice_id, 5)] * 3
    assert rig.live.positions("names") == {slice_id: 5}
    assert rig.live.load("names", ["ann", "bob"]).keys() == {"bob"}


def test_streams_that_the_key_does_not_name_are_found_through_another_view_as_far_as_that_one_is(rig: Rig) -> None:
    """What the answer says of its position is true of all of it: it does not show more of one stream than it can of another."""
    rig.append(happened("guest-ann", 1, Named("ann", "Ann")), happened("stay-1", 1, Booked("1", "ann", 3)))
    assert (rig.found(GUESTS, "ann").row, rig.found(GUESTS, "ann").position) == (None, 0), "the stays stand at 0"
    rig.fold_stays()
    rig.append(happened("stay-2", 1, Booked("2", "bob", 1)), happened("stay-1", 2, Left("1", "ann")))
    rig.append(happened("guest-ann", 2, Named("ann", "Anna")))
    found = rig.found(GUESTS, "ann")
    assert (found.position, found.row and found.row.value) == (2, Guest("ann", ("Ann", "1+3")))
    assert rig.live.positions("guests", "names").values() and set(rig.live.positions("guests").values()) == {2}
    rig.fold_stays()
    found = rig.found(GUESTS, "ann")
    assert (found.position, found.row) == (5, Row("ann", Guest("ann", ("Ann", "1+3", "1-", "Anna")), 5))


def test_one_word_changes_when_rows_are_folded_and_nothing_else(rig: Rig) -> None:
    """Live, and from the log as any other way would: the same rows."""
    stream = {name: 0 for name in ("ann", "bob", "cid")}
    for number in range(12):
        name = ("ann", "bob", "cid")[number % 3]
        stream[name] += 1
        rig.append(
            happened(f"stay-{number}", 1, Booked(str(number), name, number), *([Left(str(number), name)] if number % 2 else [])),
            happened(f"guest-{name}", stream[name], Named(name, f"n{number}")),
        )
    rig.fold_stays()
    for view in (GUESTS, NAMES):
        fresh = refold(rig.events, stored(view), Codec(hotel(stored(view), STAYS)))
        assert {key: row.value for key, row in rig.live.load(view.name, [*stream, "dan"]).items()} == fresh
        assert len(fresh) == 3


def test_a_row_is_a_prefix_of_the_log_while_it_grows(rig: Rig) -> None:
    """Its streams are read one after the other: what is appended meanwhile must be in all of them, or in none."""
    over, versions = threading.Event(), 0

    def go_on() -> None:
        nonlocal versions
        while not over.is_set() and versions < 400:
            versions += 1
            rig.append(
                happened("guest-ann", versions, Named("ann", str(versions))), happened("guest-ann2", versions, Named("ann", "!"))
            )

    both = replace(GUESTS, name="both", on=(Named,), through=(), streams=lambda key: ("guest-ann2", "guest-ann"))
    store = LiveViewStore(rig.events, rig.codec, lambda: rig.rows)
    store.make(both, 1)
    growing = threading.Thread(target=go_on)
    growing.start()
    try:
        for _ in range(20):
            [found] = store.get("both", ["ann"])
            history: Any = found.row.value.history if found.row else ()  # type: ignore[attr-defined]
            assert len(history) == found.position, "every event up to its position, and no other"
    finally:
        over.set()
        growing.join()


def test_old_events_are_upcast(rig: Rig) -> None:
    rig.append(said_then("guest-ann", 1, b'{"guest_id": "ann", "title": "Lady Ann"}'))
    found = rig.found(NAMES, "ann")
    assert found.row and found.row.value == Name("ann", "Lady Ann", 1)


def test_long_streams_are_read_page_by_page_up_to_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for too much is told what would answer it, and soon."""
    names = [Named("ann", f"{number:05}" + "x" * 100_000) for number in range(90)]
    for first in range(0, 90, 10):
        rig.append(happened("guest-ann", first + 1, *names[first : first + 10]))
    monkeypatch.setattr(twofold.readmodels.live.folding, "BYTES_MAX", 16 * 1024 * 1024)
    found = rig.found(NAMES, "ann")
    assert found.row and found.row.position == 90
    monkeypatch.setattr(twofold.readmodels.live.folding, "EVENTS_MAX", 89)
    with pytest.raises(TooMuchToFold, match="names of 'ann' is made of more than 89 events.*sync=\"async\""):
        rig.found(NAMES, "ann")
    monkeypatch.undo()
    with pytest.raises(TooMuchToFold, match="8 MiB"):
        rig.found(NAMES, "ann")


def test_many_streams_are_read_at_once_up_to_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.append(*(happened(f"stay-{number}", 1, Booked(str(number), "ann", 1)) for number in range(700)))
    rig.fold_stays()
    assert len(rig.found(GUESTS, "ann").row.value.history) == 700  # type: ignore[union-attr]
    monkeypatch.setattr(twofold.readmodels.live.folding, "STREAMS_MAX", 699)
    with pytest.raises(TooMuchToFold, match="699 streams"):
        rig.found(GUESTS, "ann")


def test_a_bug_in_the_views_code_is_the_askers_alone(rig: Rig) -> None:
    """There is nobody who could be parked."""
    rig.append(happened("guest-ann", 1, Named("ann", "bug")), happened("guest-bob", 1, Named("bob", "Bob")))
    rig.fold_stays()
    with pytest.raises(RuntimeError, match="a view with a bug"):
        rig.found(GUESTS, "ann")
    assert rig.found(GUESTS, "bob").row


def test_it_is_asked_by_key_and_there_is_nothing_to_follow(rig: Rig) -> None:
    with pytest.raises(Malformed, match="names is live: .* by its key"):
        rig.rows.find("names", Query())
    assert (rig.rows.builds(["names"]), rig.rows.rebuilt(["names"]), rig.rows.parked_lines("names")) == ([], [], [])
    assert (rig.rows.parked("names"), rig.rows.marks("names"), rig.rows.commit([])) == ([], {}, set())
    assert rig.rows.rebuild(NAMES, 0.0, 0.0) is None


def test_a_row_that_may_lack_a_parked_stay_says_so(rig: Rig) -> None:
    """The stay's row is not there, so nobody knows that its stream is one of hers."""
    rig.append(happened("guest-ann", 1, Named("ann", "Ann")), happened("stay-1", 1, Booked("1", "ann", 3)))

    def broken(row: Any, event: Any, about: Any) -> Any:
        raise RuntimeError("no stay can be shown")

    log = log_of(rig.events, rig.codec, [STAYS])
    poisoned = Projector(log, rig.stays, [[replace(STAYS, evolve=broken)]], QuietBell())
    with folding(poisoned, rig.slices):
        wait_until(lambda: set(rig.stays.positions().values()) == {2}, "the stay is parked")
    found = rig.found(GUESTS, "ann")
    assert (found.position, found.parked) == (2, 2)


def test_events_that_are_detached_are_told_as_such(postgres_url: str) -> None:
    """What there is of a row without them would be another row."""
    with_partitions = PostgresPlace(postgres_url, partition_positions=4)
    try:
        rig = Rig(with_partitions.open())
        for version in range(1, 10):
            rig.append(happened("guest-ann", version, Named("ann", str(version))))
        assert rig.found(NAMES, "ann").row
        keep_snapshot(with_partitions, "guest-ann")
        [first, *_] = partitions.growth_of(with_partitions.url).partitions
        list(partitions.detach(with_partitions.url, first))
        with pytest.raises(Detached):
            rig.found(NAMES, "ann")
        rig.append(happened("guest-bob", 1, Named("bob", "Bob")))
        assert rig.found(NAMES, "bob").row, "what needs newer ones only goes on"
    finally:
        with_partitions.close()
