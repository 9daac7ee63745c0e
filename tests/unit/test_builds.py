"""What is said of a rebuild, and which generations a process folds while one is made beside another."""

from __future__ import annotations

import time
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

import twofold.foldable
from tests.contract.viewstores import EVERYTHING
from twofold.foldable import FoldableSlices
from twofold.followed import Followed
from twofold.kernel.builds import Build, Rebuild, RebuildState, rebuild_as_it_stands
from twofold.kernel.errors import Misconfigured
from twofold.kernel.rows import Generation
from twofold.readmodels.schema.shape import shape_of

VIEW = EVERYTHING.name
SHAPE = shape_of(EVERYTHING)


def build(number: int, state: Any, shape: str = SHAPE, view: str = VIEW) -> Build:
    return Build(Generation(view, number, 2, state), shape, 0)


def test_where_nothing_was_asked_for_nothing_is_told() -> None:
    assert rebuild_as_it_stands(None, []) is None
    assert rebuild_as_it_stands(None, [build(1, "live")]) is None
    assert rebuild_as_it_stands(None, [build(1, "live"), build(2, "building", "another shape")]) is None, "a migration is none"


def test_a_rebuild_that_was_begun_and_not_noted_is_told() -> None:
    """Whoever began it died between the two."""
    builds = [build(1, "retired"), build(2, "live"), build(3, "building")]
    begun = Rebuild(VIEW, 3, 2)
    assert rebuild_as_it_stands(None, builds) == begun
    assert rebuild_as_it_stands(Rebuild(VIEW, 2, 1, "swapped"), builds) == begun
    noted = Rebuild(VIEW, 3, 2, throttle=5.0)
    assert rebuild_as_it_stands(noted, builds) == noted


@pytest.mark.parametrize(
    ("builds", "state"),
    [
        ([build(1, "live"), build(2, "building")], "building"),
        ([build(1, "retired"), build(2, "live")], "swapped"),
        ([build(1, "live"), build(2, "retired")], "cancelled"),
        ([build(1, "live")], "cancelled"),
    ],
)
def test_a_rebuild_that_is_over_and_not_noted_is_told_as_over(builds: list[Build], state: RebuildState) -> None:
    noted: list[RebuildState] = ["building", "verifying"]
    for one in noted:
        told = rebuild_as_it_stands(Rebuild(VIEW, 2, 1, one), builds)
        assert told == Rebuild(VIEW, 2, 1, one if state == "building" else state)
    assert rebuild_as_it_stands(Rebuild(VIEW, 2, 1, "failed"), builds[:1]) == Rebuild(VIEW, 2, 1, "failed")


def test_what_answered_before_is_gone_back_to() -> None:
    assert Rebuild(VIEW, 1, 2).is_going_back and Rebuild(VIEW, 3, 2, begun_from=1).is_going_back
    assert not Rebuild(VIEW, 3, 2).is_going_back


class Attached:
    """A projection that keeps what was attached to it."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def attach(self, view: object, build: Build) -> Generation:
        self.numbers.append(build.generation.number)
        return build.generation


@pytest.fixture
def slices() -> FoldableSlices:
    """Of a room whose stores answer, one of which holds generation 1 live."""
    followed = SimpleNamespace(
        projection=Attached(),
        beside=Attached(),
        views=[EVERYTHING],
        foldable=lambda: [Generation(VIEW, 1, 2)],
    )
    found = FoldableSlices(cast(Followed, followed))
    assert found.look()
    return found


def numbers(slices: FoldableSlices) -> list[tuple[int, int]]:
    """Generations that are folded, each with the number of its projection."""
    return [(one.number, slices.projections.index(store)) for one, store in slices.folded()]


def test_a_rebuild_is_folded_beside_and_stays_where_it_is_when_it_answers(
    slices: FoldableSlices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways that have not heard of it go on reading what answered before: it is folded on for a while."""
    slices.follow([build(1, "live")])
    assert numbers(slices) == [(1, 0)]
    slices.follow([build(1, "live"), build(2, "building")])
    assert numbers(slices) == [(1, 0), (2, 1)]
    slices.follow([build(1, "retired"), build(2, "live")])
    assert numbers(slices) == [(1, 0), (2, 1)]
    assert [one.state for one, _ in slices.folded()] == ["retired", "live"]
    monkeypatch.setattr(twofold.foldable, "FOLDED_ON_SECONDS", 0.0)
    slices.follow([build(1, "retired"), build(2, "live")])
    assert numbers(slices) == [(2, 1)]
    monkeypatch.undo()
    slices.follow([build(1, "retired"), build(2, "live"), build(3, "building")])
    assert numbers(slices) == [(3, 0), (2, 1)]
    slices.follow([build(1, "retired"), build(2, "live")])
    assert numbers(slices) == [(2, 1)], "a cancelled one is let go at once"
    beside, own = cast(Any, slices.projections[1]), cast(Any, slices.projections[0])
    assert (own.numbers, beside.numbers) == ([3], [2]), "each is attached once"


def test_what_is_going_back_counts_from_when_it_is_retired_again(slices: FoldableSlices, monkeypatch: pytest.MonkeyPatch) -> None:
    slices.follow([build(1, "live"), build(2, "building")])
    slices.follow([build(1, "retired"), build(2, "live")])
    slices.follow([build(1, "live"), build(2, "retired")])
    assert numbers(slices) == [(1, 0), (2, 1)]
    now = time.monotonic() + twofold.foldable.FOLDED_ON_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: now)
    slices.follow([build(1, "retired"), build(2, "live")])
    assert numbers(slices) == [(1, 0), (2, 1)], "it was live until now"


def test_other_views_and_other_shapes_are_not_folded(slices: FoldableSlices) -> None:
    others = [build(2, "building", "another shape"), build(7, "building", view="another view")]
    slices.follow([build(1, "live"), *others])
    assert numbers(slices) == [(1, 0)]
    slices.follow(others)
    assert numbers(slices) == [(1, 0)], "nothing is known of it now"


def test_where_none_answers_the_newest_is_made() -> None:
    followed = SimpleNamespace(
        projection=Attached(), beside=Attached(), views=[EVERYTHING], foldable=lambda: [Generation(VIEW, 2, 2)]
    )
    slices = FoldableSlices(cast(Followed, followed))
    slices.follow([build(1, "building")])
    assert numbers(slices) == [], "not before its store was looked at"
    slices.look()
    slices.follow([build(1, "retired"), build(2, "building")])
    assert numbers(slices) == [(2, 0)]
    slices.follow([build(1, "retired"), build(2, "retired")])
    assert numbers(slices) == [(2, 0)]


def test_a_store_that_is_away_is_looked_for_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with it when it answers is told, and it may be mended; nobody looks any more once all are found."""
    answers: list[Any] = [[], Misconfigured("it drops what it is given"), [], [Generation(VIEW, 1, 2)]]
    found_all = Event()

    def foldable() -> list[Generation]:
        answer = answers.pop(0)
        if not answers:
            found_all.set()
        if isinstance(answer, Misconfigured):
            raise answer
        return cast("list[Generation]", answer)

    monkeypatch.setattr(twofold.foldable, "LOOK_SECONDS_MIN", 0.01)
    monkeypatch.setattr(twofold.foldable, "LOOK_SECONDS_MAX", 0.01)
    followed = SimpleNamespace(projection=Attached(), beside=Attached(), views=[EVERYTHING], foldable=foldable)
    slices = FoldableSlices(cast(Followed, followed))
    with capture_logs() as logs:
        slices.start()
        assert found_all.wait(30.0)
        slices._thread.join(30.0)
    assert not slices._thread.is_alive() and numbers(slices) == [(1, 0)]
    assert [log["event"] for log in logs] == ["a store of rows is away", "a store of rows is refused", "a store of rows is away"]


def test_slices_are_held_by_name_each_in_its_projection(slices: FoldableSlices) -> None:
    slices.follow([build(1, "live"), build(2, "building")])
    names = slices.names()
    assert len(names) == 4 and names == sorted(names)
    one, other = slices.hold([name for name in names if name != names[0]])
    assert {slice_id.generation for slice_id in one} == {1} and {slice_id.generation for slice_id in other} == {2}
    assert (len(one), len(other)) == (1, 2)
    assert slices.held == (one, other)


def test_a_store_that_is_away_is_not_found_yet() -> None:
    followed = SimpleNamespace(projection=Attached(), beside=Attached(), views=[EVERYTHING], foldable=lambda: [])
    assert not FoldableSlices(cast(Followed, followed)).look()


def test_slices_of_a_store_that_does_not_answer_are_left_to_who_can_reach_it(
    slices: FoldableSlices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut from its rows alone, a projector renewed its leases, and nobody folded."""
    slices.follow([build(1, "live")])
    assert len(slices.names()) == 2
    monkeypatch.setattr(twofold.foldable, "AWAY_SECONDS_MAX", 0.0)
    slices.follow([])
    assert slices.names() == []
    monkeypatch.undo()
    slices.follow([build(1, "live")])
    assert len(slices.names()) == 2
