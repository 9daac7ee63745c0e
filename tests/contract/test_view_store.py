"""What every view store promises, whatever it keeps the rows in."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from tests.contract.viewstores import (
    EVERYTHING,
    KINDS,
    NOON,
    Everything,
    Part,
    Place,
    place,
    put,
    rows_url,  # noqa: F401
    slice_with,
)
from twofold.kernel.errors import Misconfigured
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Found, Generation, Query, Row
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.routed import RoutedViewStore

SLICES = 3
WIDE = '\u00fcber-\u5546\u54c1-\U0001f4e6-"quoted"-back\\slash-{curly},comma-\x01-\'-%s-\\u0000'


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


@pytest.fixture
def store(where: Place) -> ViewStore:
    return where.open()


@pytest.fixture
def generation(store: ViewStore) -> Generation:
    return store.make(EVERYTHING, SLICES)


def advance(slice_id: SliceId, expected: int, position: int, **rows: Everything | None) -> Advance:
    kept = {key: None if value is None else Row(key, value, position) for key, value in rows.items()}
    return Advance(slice_id, expected, position, kept)


def test_a_view_that_never_started_stands_at_0(store: ViewStore, generation: Generation) -> None:
    """A reader must wait for it, not take its empty rows for the truth."""
    assert generation == Generation("everything", 1, SLICES)
    assert store.positions("everything") == dict.fromkeys(generation.slice_ids(), 0)
    assert store.positions() == store.positions("everything")
    assert store.get("everything", ["a"]) == [Found(None, slice_with(generation, "a"), 0)]


def test_rows_come_back_as_they_were_whatever_they_hold(store: ViewStore, generation: Generation) -> None:
    """A row is folded on from what the store gives back: a value that changes in there changes every later answer."""
    far = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    rows = {
        "plain": Everything("plain"),
        WIDE: Everything(WIDE, -(2**63), -0.1, True, NOON, WIDE, (Part(WIDE, 1), Part("", -1)), {WIDE: 2**53 + 1}),
        "most": Everything("most", 2**63 - 1, 1e300, False, far, "", (Part("x", 2**63 - 1),) * 50, {}),
        "early": Everything("early", seen_at=datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        "abroad": Everything("abroad", seen_at=NOON.astimezone(timezone(timedelta(hours=-11, minutes=30)))),
        "": Everything("", parts=(Part("long", 1),) * 2_000),
        "k" * 1_000: Everything("k" * 1_000, colour="c" * 1_000),
    }
    put(store, generation, rows, 7)
    expected = {key: Row(key, value, 7) for key, value in rows.items()}
    assert store.load("everything", list(rows)) == expected
    assert [found.row for found in store.get("everything", list(rows))] == list(expected.values())
    assert store.load("everything", []) == {} and store.get("everything", []) == []
    changed = {key: msgspec.structs.replace(value, colour=None, count=1, seen_at=None) for key, value in rows.items()}
    put(store, generation, changed, 8)
    assert store.load("everything", list(rows)) == {key: Row(key, value, 8) for key, value in changed.items()}


def test_a_deleted_row_is_gone_for_every_question(store: ViewStore, generation: Generation) -> None:
    """A row that a list still shows and a look-up does not find is worse than either."""
    put(store, generation, {key: Everything(key, colour="red") for key in "abcd"}, 1)
    put(store, generation, {"b": None, "never": None}, 2)
    assert store.load("everything", ["a", "b"]).keys() == {"a"}
    assert [row.key for row in store.find("everything", Query(where=(("colour", "red"),))).rows] == ["a", "c", "d"]
    assert [row.key for row in store.find("everything", Query(order="count")).rows] == ["a", "c", "d"]


def test_only_a_slice_that_stands_where_expected_moves(store: ViewStore, generation: Generation) -> None:
    """A projector that was stopped past its lease goes on with old rows: its checkpoint is what gives it away."""
    first, second, third = generation.slice_ids()
    assert store.commit([advance(first, 0, 5), advance(second, 0, 5)]) == {first, second}
    stale = advance(first, 4, 9, a=Everything("a"))
    assert store.commit([stale, advance(second, 5, 6), advance(third, 1, 2)]) == {second}
    assert store.positions() == {first: 5, second: 6, third: 0}
    assert store.load("everything", ["a"]) == {}
    assert store.commit([]) == set()
    other = SliceId("everything", 2, 0)
    assert store.commit([advance(other, 0, 5), advance(first, 5, 6)]) == {first}


def test_of_two_movers_exactly_one_wins(where: Place) -> None:
    """Leases overlap for moments; each event must be folded into each row once all the same."""
    stores = [where.open() for _ in range(4)]
    generation = [store.make(EVERYTHING, SLICES) for store in stores][0]
    slices = generation.slice_ids()
    won: list[tuple[SliceId, int]] = []
    start = threading.Barrier(len(stores))

    def compete(number: int) -> None:
        start.wait()
        for position in range(30):
            ordered = slices if number % 2 else slices[::-1]
            moved = stores[number].commit([advance(slice_id, position, position + 1) for slice_id in ordered])
            won.extend((slice_id, position) for slice_id in moved)

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(compete, range(len(stores))))
    assert len(won) == len(set(won))
    reached = stores[0].positions()
    assert sorted(won) == sorted((slice_id, position) for slice_id in slices for position in range(reached[slice_id]))
    assert max(reached.values()) > 0


def test_a_checkpoint_is_never_newer_than_the_row_shown_with_it(where: Place) -> None:
    """Read-your-writes rests on it: the answer is given out as soon as the checkpoint has passed the command's position."""
    writer, reader = where.open(), where.open()
    generation = writer.make(EVERYTHING, 1)
    reader.make(EVERYTHING, 1)
    [slice_id] = generation.slice_ids()
    is_done = threading.Event()

    def write() -> None:
        try:
            for position in range(150):
                moved = {key: Everything(key, position + 1) for key in ("a", "b")}
                assert writer.commit([advance(slice_id, position, position + 1, **moved)])
                time.sleep(0.0005)  # a store in memory would be done before anybody looks
        finally:
            is_done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not is_done.is_set():
        for found in reader.get("everything", ["a", "b"]):
            count = 0 if found.row is None else found.row.position
            assert count == found.position
            seen.add(count)
    thread.join()
    assert len(seen) > 3


def test_making_at_once_in_many_places_makes_one_generation(where: Place) -> None:
    """Two deployments of one release may migrate at the same moment."""
    stores = [where.open() for _ in range(6)]
    with ThreadPoolExecutor(len(stores)) as pool:
        made = list(pool.map(lambda store: store.make(EVERYTHING, SLICES), stores))
    assert made == [Generation("everything", 1, SLICES)] * len(stores)
    assert stores[0].make(EVERYTHING, SLICES + 1) == made[0], "slices are fixed when a generation is made"


def test_a_view_of_another_shape_begins_anew_beside_the_old_one(where: Place) -> None:
    """Rows folded without a field never had it: they cannot be amended, only folded again."""
    old_store, new_store = where.open(), where.open()
    old = old_store.make(EVERYTHING, SLICES)
    put(old_store, old, {"a": Everything("a", 5)}, 9)
    changed = dataclasses.replace(EVERYTHING, orders=("count",))
    new = new_store.make(changed, 2)
    assert new == Generation("everything", 2, 2, "building")
    assert new_store.positions("everything") == dict.fromkeys(new.slice_ids(), 0)
    assert new_store.load("everything", ["a"]) == {}
    assert where.open().make(changed, SLICES) == new
    for number in (3, 4):
        shaped = dataclasses.replace(EVERYTHING, orders=("count", "ratio")[: number - 2], indexes=())
        assert where.open().make(shaped, 1).number == number


def test_who_attaches_finds_what_was_made_and_makes_nothing(where: Place) -> None:
    """Rooms run under roles that may not make tables."""
    changed = dataclasses.replace(EVERYTHING, orders=("count",))
    store = where.open()
    if store.promises.needs_making:
        with pytest.raises(Misconfigured, match="twofold migrate"):
            store.attach(EVERYTHING)
    made = store.make(EVERYTHING, SLICES)
    put(store, made, {"a": Everything("a", 5)}, 9)
    attached = where.open()
    assert attached.attach(EVERYTHING) == made
    assert attached.load("everything", ["a"]).keys() == {"a"}
    with pytest.raises(Misconfigured, match="twofold migrate"):
        where.open().attach(changed)
    assert where.open().attach(EVERYTHING) == made


def test_a_store_that_lost_everything_is_attached_to_all_the_same_if_it_promises_so(where: Place) -> None:
    """A flushed Redis must not keep a gateway from starting: its rows are folded anew, by themselves."""
    store = where.open()
    if not store.promises.needs_making:
        put(store, store.make(EVERYTHING, SLICES), {"a": Everything("a", 5)}, 9)
        where.empty()
        again = where.open()
        assert again.attach(EVERYTHING) == Generation("everything", 1, 4)
        assert set(again.positions("everything").values()) == {0}
    else:
        with pytest.raises(Misconfigured, match="twofold migrate"):
            store.attach(EVERYTHING)


def test_the_version_before_can_start_again_while_the_next_one_is_rolled_out(where: Place) -> None:
    """A pod of it that is moved to another host must answer from its rows, which are kept for it, and make none."""
    old = where.open().make(EVERYTHING, SLICES)
    changed = dataclasses.replace(EVERYTHING, orders=("count",))
    new = where.open().make(changed, SLICES)
    assert where.open().attach(EVERYTHING) == old
    assert where.open().swap(new, 0)
    again = where.open().attach(EVERYTHING)
    assert (again.number, again.state) == (old.number, "retired")
    assert where.open().attach(changed) == msgspec.structs.replace(new, state="live")


def test_rows_that_are_being_built_are_nobodys_answer(where: Place) -> None:
    """The live generation answers until another one takes its place, whatever numbers they have."""
    store = where.open()
    made = store.make(EVERYTHING, SLICES)
    put(store, made, {"a": Everything("a", 5)}, 9)
    where.plant_building(EVERYTHING, made.number + 1)
    again = where.open()
    assert again.attach(EVERYTHING) == made == again.make(EVERYTHING, SLICES)
    assert set(again.positions("everything")) == set(made.slice_ids())
    assert again.get("everything", ["a"])[0].row == Row("a", Everything("a", 5), 9)
    assert [row.key for row in again.find("everything", Query()).rows] == ["a"]
    following = where.open().make(dataclasses.replace(EVERYTHING, orders=()), 1)
    assert (following.number, following.state) == (made.number + 2, "building")


def test_advances_of_several_views_are_one_commit_where_the_store_promises_it(where: Place) -> None:
    """Otherwise those before one that fails stay committed; each view's rows and checkpoint move together all the same."""
    other = dataclasses.replace(EVERYTHING, name="other")
    store = where.open()
    [first], [second] = (store.make(view, 1).slice_ids() for view in (EVERYTHING, other))
    where.break_rows(other)
    with pytest.raises(Exception, match=r".+"):
        store.commit([advance(first, 0, 1, a=Everything("a")), advance(second, 0, 1, a=Everything("a"))])
    moved = store.positions("everything")[first]
    assert moved == (0 if store.promises.commits_views_together else 1)
    if store.promises.is_atomic:
        assert len(store.load("everything", ["a"])) == moved, "rows and checkpoint of a view move together"
    else:
        again = [advance(first, moved, 1, a=Everything("a"))]
        assert store.commit(again) == set() or store.load("everything", ["a"])["a"].position == 1, "repeating it changes nothing"


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_process_of_the_version_before_goes_on_answering(kind: str, request: pytest.FixtureRequest) -> None:
    """While a new version is rolled out, both run for a while. (On SQLite there is only one process.)"""
    with place(kind, request) as where:
        _answers_beside_the_next_version(where)


def _answers_beside_the_next_version(where: Place) -> None:
    old_store = where.open()
    put(old_store, old_store.make(EVERYTHING, SLICES), {"a": Everything("a", 5)}, 9)
    where.open().make(dataclasses.replace(EVERYTHING, orders=()), SLICES)
    [found] = old_store.get("everything", ["a"])
    assert found.row == Row("a", Everything("a", 5), 9) and found.position == 9


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "k" * 5_000, "!stream/x"])
def test_a_key_that_no_row_can_have_is_not_found_and_no_error(store: ViewStore, generation: Generation, key: str) -> None:
    """The key comes from a URL that anybody may write."""
    put(store, generation, {"a": Everything("a")}, 3)
    nothing, something = store.get("everything", [key, "a"])
    assert nothing.row is None and nothing.position == 3
    assert something.row is not None
    assert not store.request_retry("everything", key)
    assert not store.discard("everything", key)


def test_what_was_emptied_stands_at_0_again_and_refuses_who_does_not_know(where: Place) -> None:
    """A flushed store must be rebuilt, not filled up from where the projector happened to be."""
    store = where.open()
    generation = store.make(EVERYTHING, SLICES)
    put(store, generation, {"a": Everything("a")}, 3)
    where.empty()
    assert set(store.positions().values()) == {0}
    first = generation.slice_ids()[0]
    assert store.commit([advance(first, 3, 4)]) == set()
    assert store.commit([advance(first, 0, 2)]) == {first}
    if type(where).__name__ == "RedisPlace":
        assert where.open().make(EVERYTHING, SLICES + 5) == generation, "the first commit makes the generation known again"


def test_views_in_several_stores_are_one_port(request: pytest.FixtureRequest) -> None:
    """A gateway asks, and a projector commits, without knowing where a view lives."""
    other = dataclasses.replace(EVERYTHING, name="other")
    with place("sqlite", request) as here, place("redis", request) as there:
        first, second = here.open(), there.open()
        both = RoutedViewStore({"everything": first, "other": second})
        generations = [both.make(view, 2) for view in (EVERYTHING, other)]
        slices = [slice_id for generation in generations for slice_id in generation.slice_ids()]
        assert both.positions() == dict.fromkeys(slices, 0)
        rows = {"a": Everything("a", 1, colour="red")}
        for generation in generations:
            put(both, generation, rows, 3)
        moved = both.commit([Advance(slice_id, 3, 4, {}, waiting={"b": [4]}, errors={"b": "boom"}) for slice_id in slices[::2]])
        assert moved == set(slices[::2]) and set(first.positions()) | set(second.positions()) == set(slices)
        assert [parked.slice for parked in both.parked()] == slices[::2]
        for view in ("everything", "other"):
            assert [found.row for found in both.get(view, ["a"])] == [Row("a", rows["a"], 3)]
            assert [row.key for row in both.find(view, Query(where=(("colour", "red"),))).rows] == ["a"]
            assert both.load(view, ["a", "z"]).keys() == {"a"}
            assert both.waiting(SliceId(view, 1, 0), "b", 9) == [4]
            assert both.request_retry(view, "b") and both.discard(view, "b") and not both.discard(view, "a")
            assert [parked.discard_requested for parked in both.parked(view)] == [True]


def test_a_domain_without_views_has_rows_that_answer() -> None:
    """The first day of a domain: it can be started, and is ready."""
    rows = RoutedViewStore({})
    assert (rows.positions(), rows.builds([]), rows.parked()) == ({}, [], [])
