"""Small parts of the read side, to the letter: how fast, how far, and what a fresh fold says."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.contract.projections import Bugs, Heard, Log, Noise, QuietBell, Said, domain, until
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ports import LogPages
from twofold.kernel.rows import Advance, Row
from twofold.kernel.view import About
from twofold.readmodels.projection import audit as auditing
from twofold.readmodels.projection.audit import Audit, Difference, FreshFold, audit, keys_of, verify
from twofold.readmodels.projection.pace import Pace
from twofold.readmodels.projection.projector import Projector, Projectors
from twofold.subscriptions.log_cache import log_of
from twofold.testing.memory_rows import MemoryViewStore


def test_a_pace_is_counted_from_where_it_was_first_looked_at() -> None:
    pace = Pace(10.0)
    assert pace.events_per_second == 10.0
    assert pace.is_due(100, 50.0)
    assert [pace.is_due(at, 52.0) for at in (110, 120, 121)] == [True, True, False]
    assert not pace.is_due(121, 52.0) and pace.is_due(121, 52.1)


class Stand:
    """A view on a log in memory, folded by a projector that is stepped by hand."""

    def __init__(self, names: int = 12) -> None:
        self.log, self.bugs = Log(), Bugs()
        self.codec, self.view, _ = domain(self.bugs)
        self.store = MemoryViewStore()
        self.generation = self.store.make(self.view, 1)
        for number in range(names):
            self.log.append(Said((f"n{number:02}",), "w"))
        self.projector = Projector(
            log_of(cast(LogPages, self.log), self.codec, [self.view]), self.store, [[self.view]], QuietBell(), 10
        )

    def fold(self) -> None:
        self.projector.hold(self.generation.slice_ids())
        while self.projector._subscriptions[0].round():
            pass

    def audit(self, **more: Any) -> Audit:
        return audit(cast(LogPages, self.log), self.store, self.store, self.view, self.codec, **more)

    def tamper(self, key: str, row: Heard | None) -> None:
        [slice_id] = self.generation.slice_ids()
        at = len(self.log.events)
        assert self.store.commit([Advance(slice_id, at, at, {key: None if row is None else Row(key, row, at)})])

    def fresh(self, **more: Any) -> FreshFold:
        return FreshFold(cast(LogPages, self.log), self.view, self.codec, **more)


def test_a_fresh_fold_goes_exactly_as_far_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "PAGE_EVENTS", 5)
    stand = Stand()
    stand.log.append(Noise())
    fresh = stand.fresh()
    for until_, through, reads in ((0, 0, 0), (3, 3, 1), (3, 3, 1), (9, 9, 3), (12, 12, 4), (99, 13, 6)):
        fresh.fold(until_)
        assert (fresh.through, len(fresh.rows), stand.log.reads) == (through, min(through, 12), reads)
    assert stand.fresh(wanted=lambda key: key > "n09").rows == {}


def test_a_fresh_fold_tells_what_it_cannot_fold() -> None:
    stand = Stand(2)
    for to, word, stream in (((), "bad", "s1"), (("n00", "n07"), "w", "s1"), (("n01",), "", "s2"), (("n08",), "x", "s3")):
        stand.log.append(Said(to, word), stream=stream)
    whole = stand.view

    def keys(event: Any, about: About) -> Any:
        return 1 / 0 if event.word == "bad" else whole.keys(event, about)

    stand.view = replace(whole, keys=keys)
    fresh = stand.fresh()
    fresh.fold(99)
    assert fresh.broken == {"n00", "n07"}, "they wait behind one of their stream whose keys nobody could name"
    assert set(fresh.rows) == {"n00", "n08"}, "n01 was taken away"
    stand.view = replace(stand.view, keys=lambda event, about: ["\0" if event.word == "x" else "k"])
    fresh = stand.fresh()
    fresh.fold(99)
    assert fresh._broken_streams == {"s3"}, "no store could hold it"


def test_a_fresh_fold_ends_when_the_log_is_away() -> None:
    stand = Stand(2)
    stand.view = replace(stand.view, keys=lambda event, about: (_ for _ in ()).throw(Unavailable(Neighbour.LOG)))
    with pytest.raises(Unavailable):
        stand.fresh().fold(9)


def test_a_row_that_cannot_be_folded_on_is_let_be() -> None:
    stand = Stand(1)
    stand.log.append(Said(("n00",), "x"))
    stand.log.append(Said(("n00",), "y"))
    evolve = stand.view.evolve
    stand.view = replace(stand.view, evolve=lambda row, event, about: 1 / 0 if event.word == "x" else evolve(row, event, about))
    fresh = stand.fresh()
    fresh.fold(9)
    assert fresh.broken == {"n00"}
    assert [row.words for row in fresh.rows.values()] == [("w",)]  # type: ignore[attr-defined]


def test_an_audit_goes_key_by_key_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "PAGE_ROWS", 5)
    monkeypatch.setattr(auditing, "SNAPSHOT_KEYS", 4)
    stand = Stand()
    stand.fold()
    names = [f"n{number:02}" for number in range(12)]
    assert list(keys_of(stand.store, stand.view)) == names and list(keys_of(stand.store, stand.view, "n09")) == names[10:]
    assert [stand.audit(limit=limit).next for limit in (11, 12, 13)] == ["n10", None, None]
    assert [stand.audit(limit=limit).checked for limit in (11, 12)] == [11, 12]
    assert stand.audit(after="n10", limit=5) == Audit(1, [])
    stand.tamper("n03", None)
    stand.tamper("n04", Heard("n04", ("no",), 1))
    stand.tamper("n05", Heard("n05", ("no",), 1))
    found = stand.audit()
    assert (found.checked, [one.key for one in found.differences], found.open) == (12, ["n03", "n04", "n05"], 0)
    monkeypatch.setattr(auditing, "DIFFERENCES_MAX", 2)
    assert [one.key for one in stand.audit().differences] == ["n03", "n04"]
    assert stand.audit(after="n03", limit=1).differences[0] == Difference(
        "n04", Heard("n04", ("w",), 1), Heard("n04", ("no",), 1)
    )


def test_what_is_parked_is_counted_and_not_compared() -> None:
    stand = Stand(3)
    evolve = stand.view.evolve
    bad = replace(stand.view, evolve=lambda row, event, about: 1 / 0 if about.key == "n01" else evolve(row, event, about))
    log = log_of(cast(LogPages, stand.log), stand.codec, [bad])
    stand.projector = Projector(log, stand.store, [[bad]], QuietBell(), 10)
    stand.fold()
    assert stand.audit() == Audit(3, [], parked=1)
    assert (stand.audit(after="n01").parked, stand.audit(after="n00").parked) == (0, 1)


def test_a_sample_is_one_of_every_so_many_keys() -> None:
    stand = Stand()
    stand.fold()
    pages = cast(LogPages, stand.log)
    assert verify(pages, stand.store, stand.view, stand.codec).checked == 12
    assert verify(pages, stand.store, stand.view, stand.codec, keys_max=13).checked == 12
    sample = verify(pages, stand.store, stand.view, stand.codec, keys_max=6).checked
    assert 0 < sample < 12
    stand.tamper("n03", None)
    assert len(verify(pages, stand.store, stand.view, stand.codec).differences) == 1


def test_rows_behind_the_fold_are_looked_at_again_and_left_open_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(auditing, "LOOKS_MAX", 3)
    stand = Stand()
    stand.fold()
    ahead = stand.fresh()
    stand.log.append(Said(("n00",), "more"))
    ahead.fold(13)
    found = auditing._compared(stand.store, stand.view, ahead, ["n00"], None)
    assert (found.checked, found.open, found.differences, slept) == (12, 12, [], [auditing.LOOK_SECONDS] * 2)
    stand.fold()
    slept.clear()
    assert auditing._compared(stand.store, stand.view, ahead, ["n00"], "n00") == Audit(12, [], 0, "n00") and slept == []


def test_a_pace_goes_on_while_its_rate_is_the_same() -> None:
    """Told every second, it must not begin anew each time."""
    stand = Stand()
    one, other = ("heard", 1), ("heard", 2)
    stand.projector.throttle({one: 5.0})
    first = stand.projector._paces[one]
    stand.projector.throttle({one: 5.0, other: 1.0})
    assert stand.projector._paces[one] is first and stand.projector._paces[other].events_per_second == 1.0
    stand.projector.throttle({one: 6.0})
    assert set(stand.projector._paces) == {one}
    assert stand.projector._paces[one] is not first and stand.projector._paces[one].events_per_second == 6.0
    assert stand.projector._readers[0]._paces is stand.projector._paces


def test_who_follows_nothing_is_idle() -> None:
    stand = Stand()
    [reader] = stand.projector._readers
    assert reader.is_idle() is True
    stand.projector.hold(stand.generation.slice_ids())
    assert reader.is_idle() is False


def test_several_projections_are_run_and_ended_together() -> None:
    stand = Stand()
    other = MemoryViewStore()
    generation = other.make(stand.view, 1)
    log, views = log_of(cast(LogPages, stand.log), stand.codec, [stand.view]), [[stand.view]]
    both = Projectors(log, [(stand.store, views), (other, views)], QuietBell())
    with pytest.raises(ValueError):
        both.hold([[]])
    both.hold([stand.generation.slice_ids(), generation.slice_ids()])
    both.throttle({("heard", 9): 1.0})
    assert [list(one._paces) for one in both._all] == [[("heard", 9)]] * 2
    stop = threading.Event()
    running_ = threading.Thread(target=both.run, args=(stop,))
    running_.start()
    until(lambda: all(set(one.positions("heard").values()) == {12} for one in (stand.store, other)), "both at the head")
    stop.set()
    running_.join(10.0)
    assert not running_.is_alive()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("projector")] == []
