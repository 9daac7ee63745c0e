"""An audit on every store: what was folded well agrees with a fresh fold, also while it moves on; what was changed does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from tests.contract.projections import Bugs, Heard, Log, Said, domain, projector, reached, running, until
from tests.contract.viewstores import (
    KINDS,
    Place,
    place,
    rows_url,  # noqa: F401
)
from twofold.kernel.codec import Codec
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import Rows, ViewStore
from twofold.kernel.rows import Advance, Found, Generation, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.projection.audit import Audit, Difference, audit, keys_of, verify

NAMES = tuple(f"n{number:02}" for number in range(12))
SLICES = 3


class Folded:
    """A view of a log of 40 events, folded by a projector."""

    def __init__(self, where: Place, kind: str) -> None:
        self.log = Log()
        self.codec: Codec
        self.view: AnyView
        self.bugs = Bugs()
        self.codec, self.view, _ = domain(self.bugs, "redis" if kind == "redis" else "sql")
        self.store: ViewStore = where.open()
        self.generation: Generation = self.store.make(self.view, SLICES)
        self.projector = projector(self.log, self.store, [self.view], self.codec)
        for number in range(40):
            self.log.append(Said((NAMES[number % 12], NAMES[number % 5]), f"w{number}"))

    def audit(self, after: str = "", limit: int = 1_000) -> Audit:
        return audit(self.log, self.store, self.store, self.view, self.codec, after, limit)

    def tamper(self, key: str, row: Heard | None, at: int = 40) -> None:
        slice_id = self.generation.slice_ids()[slice_of(key, SLICES)]
        rows = {key: None if row is None else Row(key, row, at)}
        assert self.store.commit([Advance(slice_id, at, at, rows)]) == {slice_id}


@pytest.fixture(params=KINDS)
def folded(request: pytest.FixtureRequest) -> Iterator[Folded]:
    with place(request.param, request) as where:
        yield Folded(where, request.param)


def test_what_is_not_what_its_events_say_is_found(folded: Folded) -> None:
    """A row that was changed, one that was made up, and one that is missing; and all keys are seen, page after page."""
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 40), "all slices at the head")
    assert folded.audit() == Audit(12, [])
    rows = folded.store.load("heard", NAMES)
    folded.tamper("n03", Heard("n03", ("nonsense",), 1))
    folded.tamper("n07", None)
    folded.tamper("nobody", Heard("nobody"))
    differences = [
        Difference("n03", rows["n03"].value, Heard("n03", ("nonsense",), 1)),
        Difference("n07", rows["n07"].value, None),
        Difference("nobody", None, Heard("nobody")),
    ]
    assert folded.audit() == Audit(13, differences)
    told: list[Difference] = []
    checked, after = 0, ""
    while True:
        page = folded.audit(after, 5)
        told, checked = told + page.differences, checked + page.checked
        if page.next is None:
            break
        after = page.next
    assert (told, checked) == (differences, 13)
    assert list(keys_of(folded.store, folded.view, "n10")) == ["n11", "nobody"]


def test_a_sample_is_of_stored_keys_and_of_missing_ones_and_a_small_view_is_compared_whole(folded: Folded) -> None:
    """What decides over a rebuild: nothing compared is nothing verified."""
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 40), "all slices at the head")
    whole = verify(folded.log, folded.store, folded.view, folded.codec, keys_max=13)
    assert whole == Audit(12, [])
    sample = verify(folded.log, folded.store, folded.view, folded.codec, keys_max=4)
    assert 0 < sample.checked < 12 and not sample.differences
    wrong = {"n03": Heard("n03", ("nonsense",), 1), "n07": None, "nobody": Heard("nobody")}
    for key, row in wrong.items():
        folded.tamper(key, row)
    found = verify(folded.log, folded.store, folded.view, folded.codec, keys_max=13)
    assert (found.checked, [difference.key for difference in found.differences]) == (13, sorted(wrong))


def test_rows_that_move_on_meanwhile_are_no_differences(folded: Folded) -> None:
    """An audit runs beside everything else; a false alarm would be the last one anybody looks at."""
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.005):
            folded.log.append(Said((NAMES[len(folded.log.events) % 3],), "more"))

    talking = threading.Thread(target=talk)
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 40), "all slices at the head")
        talking.start()
        try:
            for _ in range(3):
                found = folded.audit()
                assert (found.checked, found.differences) == (12, [])
        finally:
            stop.set()
            talking.join()


@pytest.mark.parametrize("bug", ["words", "nameless"])
def test_what_cannot_be_folded_does_not_end_an_audit(folded: Folded, bug: str) -> None:
    """One event whose keys could not be named, and no rebuild of its view came to an end, nor one of any other view."""
    getattr(folded.bugs, bug).add("poison")
    folded.log.append(Said((NAMES[1],), "poison"), "talk-2")
    folded.log.append(Said((NAMES[1], NAMES[2]), "after"), "talk-2")
    folded.log.append(Said((NAMES[3],), "other"))
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 43), "all slices at the head")
        assert folded.audit() == Audit(12, [], parked=1), "those that wait for a reason are told, not compared"
        assert sum(folded.audit(after, 11).parked for after in ("", "n10")) == 1
        for key in {parked.key for parked in folded.store.parked()}:
            assert folded.store.discard("heard", key)
        until(lambda: not folded.store.parked(), "the lines are worked off")
    folded.tamper("n03", Heard("n03", ("nonsense",), 1), 43)
    assert [one.key for one in folded.audit().differences] == ["n03"], "and what is known to be wrong is still found"


class MovingOn:
    """Rows that have always moved on by the time somebody looks at them."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folded.store, name)

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        position = self._folded.log.append(Said(NAMES[:3], "more"))
        until(reached(self._folded.store, self._folded.generation, position), "it is folded")
        return self._folded.store.get(view, keys)


def test_a_row_that_moves_on_all_the_time_is_compared(folded: Folded) -> None:
    """A day's sales change with every order: a rebuild waited for a moment without one, and so did who had asked for it."""
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 40), "all slices at the head")
        moving = cast(Rows, MovingOn(folded))
        assert audit(folded.log, moving, folded.store, folded.view, folded.codec) == Audit(12, [])


def test_a_row_without_a_name_is_compared_like_any_other(folded: Folded) -> None:
    """It was taken for one that its events do not make."""
    folded.log.append(Said(("",), "nobody's"))
    with running(folded.projector, folded.generation.slice_ids()):
        until(reached(folded.store, folded.generation, 41), "all slices at the head")
    assert folded.audit() == Audit(13, [])
    first = folded.audit("", 1)
    assert first.next and first.checked + folded.audit(first.next).checked == 13
