"""A view's builds on every store: the live one answers until the next one has caught up; none goes that somebody needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import pytest

from tests.contract.viewstores import (
    EVERYTHING,
    KINDS,
    Everything,
    Place,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.builds import Build
from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Generation, Query, Row
from twofold.kernel.view import AnyView


class Widened(Everything, frozen=True):
    """The next version's row."""

    mood: str = "calm"


class Demanding(Everything, frozen=True, kw_only=True):
    """One that cannot be made of the rows there are."""

    owner: str


NEXT = dataclasses.replace(EVERYTHING, row=Widened, indexes=("colour", "mood"))


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


def states(store: ViewStore) -> dict[int, str]:
    return {build.generation.number: build.generation.state for build in store.builds(["everything"])}


def live(store: ViewStore) -> Build:
    [found] = [build for build in store.builds(["everything"]) if build.generation.state == "live"]
    return found


def deployed(where: Place, view: AnyView, position: int, *keys: str) -> tuple[ViewStore, Generation]:
    """Migrated to, folded up to a position, and swapped in, if it was not live from the beginning."""
    store = where.open().beside()
    generation = store.make(view, 2)
    put(store, generation, {key: view.row(key, count=position) for key in keys}, position)
    if generation.state == "building":
        assert store.swap(generation, position)
    return store, generation


def test_the_live_generation_answers_until_the_next_one_has_caught_up(where: Place) -> None:
    """Whoever asked the new version for a row while it was being folded was told that there is none."""
    deployed(where, EVERYTHING, 9, "a", "b")
    store = where.open().beside()
    building = store.make(NEXT, 2)
    answers = store.beside()
    answers.attach(NEXT, live(store))
    [found] = answers.get("everything", ["a"])
    assert found.row == Row("a", Widened("a", 9), 9) and found.position == 9
    assert [row.value for row in answers.find("everything", Query(order="colour")).rows] == [Widened("a", 9), Widened("b", 9)]
    with pytest.raises(Unavailable, match="view building"):
        answers.find("everything", Query(where=(("mood", "calm"),)))
    put(store, building, {"a": Widened("a", 4)}, 8)
    assert not store.swap(building, 9), "it has not caught up"
    assert states(store) == {1: "live", 2: "building"}
    put(store, building, {"a": Widened("a", 5, mood="glad")}, 9)
    assert store.swap(building, 9)
    assert states(store) == {1: "retired", 2: "live"}
    answers.attach(NEXT, live(store))
    assert [row.key for row in answers.find("everything", Query(where=(("mood", "glad"),))).rows] == ["a"]


def test_rows_that_cannot_be_read_are_not_answered(where: Place) -> None:
    """A 503 says try again; a row with an invented field would be believed."""
    store, _ = deployed(where, EVERYTHING, 9, "a")
    with pytest.raises(Unavailable, match="view building"):
        store.beside().attach(dataclasses.replace(EVERYTHING, row=Demanding), live(store))


def test_a_process_of_the_version_before_reads_what_the_next_one_folds(where: Place) -> None:
    """Its gateways stay until the next version's are ready; by then its projectors have gone."""
    deployed(where, EVERYTHING, 9, "a")
    store, _ = deployed(where, NEXT, 12, "a")
    before = store.beside()
    before.attach(EVERYTHING, live(store))
    [found] = before.get("everything", ["a"])
    assert found.row == Row("a", Everything("a", 12), 12)


def test_going_back_folds_the_retired_generation_on(where: Place) -> None:
    """Only a deployment of it, its `migrate` first, brings a version back; a pod that starts again changes nothing."""
    store, first = deployed(where, EVERYTHING, 9, "a")
    deployed(where, NEXT, 12, "a")
    again = where.open().beside()
    assert again.attach(EVERYTHING).number == first.number
    assert states(again) == {1: "retired", 2: "live"}
    back = again.make(EVERYTHING, 2)
    assert back == msgspec.structs.replace(first, state="building")
    assert set(again.positions("everything").values()) == {9}
    put(again, back, {}, 12)
    assert again.swap(back, 12)
    assert states(again) == {1: "live", 2: "retired"}


def test_at_most_one_is_being_built(where: Place) -> None:
    """A version that was given up half-way must not take the place of the one after it."""
    store, _ = deployed(where, EVERYTHING, 9, "a")
    given_up = store.make(NEXT, 2)
    store.make(dataclasses.replace(NEXT, revision=2), 2)
    assert states(store) == {1: "live", 2: "retired", 3: "building"}
    assert store.make(NEXT, 2) == given_up
    assert states(store) == {1: "live", 2: "building", 3: "retired"}


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_what_a_living_process_uses_is_not_dropped(kind: str, request: pytest.FixtureRequest) -> None:
    """A pod of the version before answered 500 once its rows had been taken away under it."""
    with place(kind, request) as where:
        _drops_what_nobody_uses(where)


def _drops_what_nobody_uses(where: Place) -> None:
    store, first = deployed(where, EVERYTHING, 9, "a")
    deployed(where, NEXT, 12, "a")
    where.let_time_pass(2 * 86_400)
    store.use("member", [first], 60.0)
    third = dataclasses.replace(NEXT, revision=3)
    where.open().beside().make(third, 2)
    assert states(store) == {1: "retired", 2: "live", 3: "building"}
    assert store.get("everything", ["a"])[0].row == Row("a", Everything("a", 9), 9)
    where.let_time_pass(2 * 86_400)
    where.open().beside().make(third, 2)
    assert states(store) == {2: "live", 3: "building"}
    assert where.open().beside().make(EVERYTHING, 2).number == 4, "a number is never used twice"
