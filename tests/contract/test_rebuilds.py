"""Rows made anew beside the live ones of the same shape, on every store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest

from tests.chaos.rooms import wait_until
from tests.contract.viewstores import (
    EVERYTHING,
    KINDS,
    Everything,
    Place,
    place,
    put,
    rows_url,  # noqa: F401
    slice_with,
)
from tests.servers.postgres import libpq
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Generation, Row

SECONDS_MAX = 15.0


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


def states(store: ViewStore) -> dict[int, str]:
    return {build.generation.number: build.generation.state for build in store.builds(["everything"])}


def attached(where: Place, number: int) -> tuple[ViewStore, Generation]:
    store = where.open().beside()
    [build] = [one for one in store.builds(["everything"]) if one.generation.number == number]
    return store, store.attach(EVERYTHING, build)


def made(where: Place) -> ViewStore:
    """With one live generation, which stands at 9."""
    store = where.open().beside()
    put(store, store.make(EVERYTHING, 2), {key: Everything(key, 9) for key in ("a", "b")}, 9)
    return store


def test_a_rebuild_is_built_beside_swapped_in_and_can_be_taken_back(where: Place) -> None:
    store = made(where)
    begun = store.rebuild(EVERYTHING, 50.0, 1_000.0)
    assert begun is not None and (begun.generation, begun.before, begun.state, begun.throttle) == (2, 1, "building", 50.0)
    assert store.rebuild(EVERYTHING, 0.0, 0.0) is None, "one at a time"
    assert states(store) == {1: "live", 2: "building"}
    assert store.attach(EVERYTHING).number == 1, "whoever starts meanwhile works on the live one"
    building, generation = attached(where, 2)
    assert set(building.positions("everything").values()) == {0}
    put(building, generation, {"a": Everything("a", 9)}, 9)
    assert [found.row is None for found in store.get("everything", ["a", "b"])] == [False, False]
    assert building.swap(generation, 9)
    assert states(store) == {1: "retired", 2: "live"}
    [swapped] = store.rebuilt(["everything"])
    assert swapped.state == "swapped", "seen by the builds, if nobody was left to note it"
    assert store.note_rebuild(swapped)
    assert not store.note_rebuild(msgspec.structs.replace(swapped, state="cancelled")), "it is over"
    assert states(store) == {1: "retired", 2: "live"}

    back = store.rebuild(EVERYTHING, 0.0, 2_000.0, again=1)
    assert back is not None and (back.generation, back.before, back.begun_from) == (1, 2, 9)
    assert states(store) == {1: "building", 2: "live"}
    [build] = [one for one in store.builds(["everything"]) if one.generation.number == 1]
    assert store.swap(build.generation, 9)
    assert states(store) == {1: "live", 2: "retired"}
    assert not building.swap(generation, 9), "whoever verified it and was stopped meanwhile comes too late"
    assert states(store) == {1: "live", 2: "retired"}
    forth = store.rebuild(EVERYTHING, 0.0, 3_000.0, again=2)
    assert forth is not None and store.note_rebuild(msgspec.structs.replace(forth, state="cancelled"))
    assert not building.swap(generation, 9), "called off is called off"
    assert states(store) == {1: "live", 2: "retired"}


def test_what_a_cancelled_or_failed_rebuild_has_made_is_dropped(where: Place) -> None:
    store = made(where)
    for number, end in ((2, "cancelled"), (3, "failed")):
        begun = store.rebuild(EVERYTHING, 0.0, 0.0)
        assert begun is not None and begun.generation == number
        building, generation = attached(where, number)
        put(building, generation, {"a": Everything("a", 9)}, 9)
        ended = msgspec.structs.replace(begun, state=end, differences=[{"key": "a"}])
        assert store.note_rebuild(ended)
        assert store.rebuilt(["everything"]) == [ended]
        assert states(store) == {1: "live"}
        assert not building.swap(generation, 9)
    assert store.make(EVERYTHING, 2).number == 1
    assert store.rebuild(EVERYTHING, 0.0, 0.0, again=3) is None


def test_a_rebuild_of_a_shape_that_is_left_is_dropped(where: Place) -> None:
    """Half made and retired, it would be what the version before answers from."""
    store = made(where)
    assert store.rebuild(EVERYTHING, 0.0, 0.0) is not None
    following = store.beside().make(dataclasses.replace(EVERYTHING, revision=2), 2)
    assert states(store) == {1: "live", following.number: "building"}
    [ended] = store.rebuilt(["everything"])
    assert ended.state == "cancelled"


def test_what_was_taken_back_is_not_gone_back_to(where: Place) -> None:
    """The next version is deployed, and the one before again: it found the rows that had been found wrong, as the newest ones of
    its shape, and folded those on."""
    store = made(where)
    assert store.rebuild(EVERYTHING, 0.0, 0.0) is not None
    wrong, generation = attached(where, 2)
    put(wrong, generation, {"a": Everything("a", 0)}, 9)
    assert wrong.swap(generation, 9)
    assert store.rebuild(EVERYTHING, 0.0, 0.0, again=1) is not None
    assert store.swap(store.builds(["everything"])[0].generation, 9)
    following = store.beside().make(dataclasses.replace(EVERYTHING, revision=2), 2)
    assert states(store) == {1: "live", following.number: "building"}
    assert [found.row is None for found in wrong.get("everything", ["a"])] == [False], "who reads it still goes on for a moment"
    put(after := store.beside(), after.make(dataclasses.replace(EVERYTHING, revision=2), 2), {}, 9)
    assert after.swap(following, 9)
    back = where.open().beside()
    assert back.make(EVERYTHING, 2).number == 1
    assert back.get("everything", ["a"])[0].row == Row("a", Everything("a", 9), 9)


def test_a_commit_under_way_touches_no_rows_but_its_own_generations(request: pytest.FixtureRequest) -> None:
    """A projection is given another generation when a second rebuild begins: the rows of the step before were written into
    it, and then its events were folded onto them once more."""
    with place("postgres", request) as where:
        _touches_no_other_rows(where, libpq(request.getfixturevalue("rows_url")))


def _touches_no_other_rows(where: Place, url: str) -> None:
    store = made(where)
    [first] = store.builds(["everything"])
    assert store.rebuild(EVERYTHING, 0.0, 0.0) is not None
    [_, second] = store.builds(["everything"])
    slice_id = slice_with(first.generation, "a")
    with psycopg.connect(url) as holding, ThreadPoolExecutor(1) as thread:
        holding.execute("SELECT 1 FROM read.checkpoints FOR UPDATE")
        moved = thread.submit(store.commit, [Advance(slice_id, 9, 10, {"a": Row("a", Everything("a", 10), 10)})])
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_until("the commit waits", lambda: holding.execute(waits).fetchone() is not None, SECONDS_MAX)
        store.attach(EVERYTHING, second)
        holding.rollback()
        assert moved.result(SECONDS_MAX) == {slice_id}
    assert store.load("everything", ["a"]) == {}
    store.attach(EVERYTHING, first)
    assert store.load("everything", ["a"])["a"].position == 10


def test_there_is_nothing_to_take_back_before_a_rebuild(where: Place) -> None:
    store = made(where)
    assert store.rebuilt(["everything"]) == []
    assert store.rebuild(EVERYTHING, 0.0, 0.0, again=7) is None
    assert states(store) == {1: "live"}
