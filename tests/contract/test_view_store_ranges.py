"""Questions by several indexes, ranges and orders at once: in every store, page by page, what a filter in Python finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.viewstores import (
    KINDS,
    Counted,
    counted_keys,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.errors import Malformed, Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Query, Range
from twofold.kernel.view import AnyView, View
from twofold.readmodels.stores.redis import store as redis_store
from twofold.readmodels.stores.sql import find as sql_find

EXAMPLES = 40
KEYS_MAX = 40
QUESTIONS = 12
"""For each set of rows."""
NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)


class Visit(msgspec.Struct, frozen=True):
    name: str
    ward: str | None
    urgent: bool
    state: Literal["open", "shut"]
    count: int
    seen_at: datetime | None
    day: date
    ratio: float


VISITS: AnyView = View(
    name="visits",
    key="name",
    row=Visit,
    on=(Counted,),
    keys=counted_keys,
    evolve=lambda row, event, about: row,
    indexes=("ward", "urgent", "state"),
    orders=("count", "seen_at", "day", "ratio"),
    compounds=(("ward", "count"), ("state", "urgent", "seen_at"), ("seen_at", "count"), ("urgent", "day", "ratio", "count")),
)

VALUES: dict[str, list[Any]] = {
    "ward": [None, "", "a", "a\x01", "ab", "é"],
    "urgent": [False, True],
    "state": ["open", "shut"],
    "count": [-(2**63), -3, 0, 4, 5, 2**63 - 1],
    "seen_at": [None, *(NOON + timedelta(microseconds=number) for number in (-1, 0, 7, 8))],
    "day": [date(2010, 12, number) for number in (1, 2, 9)],
    "ratio": [-1e300, -0.0, 0.0, 0.5, 1e300],
}
ROWS = st.dictionaries(
    st.integers(0, KEYS_MAX - 1), st.tuples(*(st.sampled_from(values) for values in VALUES.values())), max_size=KEYS_MAX
)


@st.composite
def ranges(draw: st.DrawFn, name: str) -> Range:
    values = [f"k{number}" for number in range(0, KEYS_MAX, 7)] if name == "name" else [*VALUES[name]]
    bounds = sorted(value for value in draw(st.tuples(*[st.sampled_from(values)] * 2)) if value is not None)
    start, end = (*bounds, None, None)[:2]
    if start is None or (end is not None and draw(st.booleans())):
        return Range(name, None, values[-1] if end is None else end)
    return Range(name, start, end)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    fixed = draw(st.sets(st.sampled_from(VISITS.indexes), max_size=3))
    fields = [name for name in (*VALUES, "name") if name not in fixed]
    ranged = draw(st.lists(st.sampled_from(fields), max_size=2, unique=True))
    orders: list[str | None] = [None] * (len(ranged) < 2) + [*ranged, *fields]
    return Query(
        where=tuple((name, draw(st.sampled_from(VALUES[name]))) for name in sorted(fixed)),
        ranges=tuple(draw(ranges(name)) for name in ranged),
        order=draw(st.sampled_from(orders)),
        descending=draw(st.booleans()),
        limit=draw(st.sampled_from((1, 3, 1_000))),
    )


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[ViewStore]:
    with place(request.param, request) as opened:
        yield opened.open()


def order_of(query: Query) -> str:
    return query.order or (query.ranges[0].field if query.ranges else "name")


def expected(rows: dict[str, Visit], query: Query) -> list[str]:
    def is_in(row: Visit, asked: Range) -> bool:
        value = getattr(row, asked.field)
        after, before = asked.start is None or value >= asked.start, asked.end is None or value < asked.end
        return after and before

    def place_of(row: Visit) -> tuple[Any, ...]:
        value = getattr(row, order_of(query))
        return (value is not None, 0 if value is None else value, row.name)

    found = [row for row in rows.values() if all(getattr(row, name) == value for name, value in query.where)]
    found = [row for row in found if all(getattr(row, one.field) is not None and is_in(row, one) for one in query.ranges)]
    return [row.name for row in sorted(found, key=place_of, reverse=query.descending)]


def is_served(query: Query) -> bool:
    """A range in its own order always, in another by a compound: fields that equal something, the order, then the ranges."""
    beside = {one.field for one in query.ranges} - {order_of(query)}
    ways = [compound for compound in VISITS.compounds if order_of(query) in compound]
    before = [(set(way[: way.index(order_of(query))]), set(way[way.index(order_of(query)) :])) for way in ways]
    return not beside or any(fixed <= {name for name, _ in query.where} and beside <= rest for fixed, rest in before)


def pages(store: ViewStore, query: Query) -> list[str]:
    found: list[str] = []
    for _ in range(2 * KEYS_MAX + 2):
        page = store.find("visits", query)
        assert len(page.rows) <= query.limit
        found += [row.key for row in page.rows]
        if page.next is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.next)
    raise AssertionError("the pages never end")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(ROWS, st.lists(queries(), min_size=QUESTIONS, max_size=QUESTIONS), st.sampled_from((1, 5, 1_000)))
def test_whatever_is_asked_the_pages_are_what_a_filter_finds(
    store: ViewStore, kept: dict[int, tuple[Any, ...]], asked: list[Query], bound: int
) -> None:
    """Absent values, equal ones, empty ranges: also when a store may look at, or sort, a few rows only."""
    generation = store.make(VISITS, 2)
    rows = {f"k{number}": Visit(f"k{number}", *values) for number, values in kept.items()}
    position = min(store.positions("visits").values()) + 1
    put(store, generation, {f"k{number}": rows.get(f"k{number}") for number in range(KEYS_MAX)}, position)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redis_store, "TOUCHED_MEMBERS_MAX", bound)
        patched.setattr(sql_find, "SORTED_ROWS_MAX", bound)
        for query in asked:
            if is_served(query):
                assert pages(store, query) == expected(rows, query), query
            else:
                with pytest.raises(Malformed, match="only by a declared compound"):
                    store.find("visits", query)


def made(store: ViewStore, view: AnyView = VISITS) -> dict[str, Visit]:
    """Forty rows, no two alike in `count`."""
    rows = {
        f"k{number}": Visit(
            f"k{number}",
            ("a", "b", None)[number % 3],
            number % 2 == 0,
            "open",
            number,
            NOON + timedelta(hours=number),
            date(2010, 12, 1 + number % 5),
            0.5,
        )
        for number in range(40)
    }
    put(store, store.make(view, 2), rows, 40)
    return rows


def keys(store: ViewStore, *bounds: Range, **more: Any) -> list[str]:
    return [row.key for row in store.find("visits", Query(ranges=bounds, **more)).rows]


def test_a_range_is_half_open_and_its_rows_come_in_its_order(store: ViewStore) -> None:
    """Neighbouring ranges share no row and leave none out."""
    made(store)
    assert keys(store, Range("count", "9", "12")) == ["k9", "k10", "k11"]
    assert keys(store, Range("count", 37)) == ["k37", "k38", "k39"]
    assert keys(store, Range("count", end=2), descending=True) == ["k1", "k0"]
    assert keys(store, Range("key", "k38", "k5")) == ["k38", "k39", "k4"]
    assert keys(store, Range("seen_at", "2010-12-01T13:00:00 01:00", "2010-12-01T13:00:00Z")) == ["k0"]
    assert keys(store, Range("day", "2010-12-05"), where=(("ward", "b"),), limit=2) == ["k19", "k34"]
    assert keys(store, Range("count", 7, 7)) == []


def test_absent_values_are_in_no_range(store: ViewStore) -> None:
    made(store)
    assert keys(store, Range("ward", end="b"), limit=1_000) == sorted(f"k{number}" for number in range(0, 40, 3))
    assert keys(store, Range("ward", "c")) == []


NONSENSE: tuple[tuple[tuple[Range, ...], dict[str, Any], str], ...] = (
    ((Range("count", 2, 1),), {}, "count.to lies before count.from"),
    ((Range("count"),), {}, "a from, a to"),
    ((Range("count", "x"),), {}, "not a bound of count"),
    ((Range("day", "yesterday"),), {}, "not a bound of day"),
    ((Range("seen_at", "2010-12-01T13:00:00"),), {}, "time zone"),
    ((Range("nothing", 1),), {}, "no range 'nothing'; declared: count, day, key"),
    ((Range("count", 1), Range("count", 2)), {}, "count is asked for twice"),
    ((Range("ward", "a"),), {"where": (("ward", "a"),)}, "ward is asked for twice"),
    ((), {"where": (("ward", "a"), ("ward", "b"))}, "ward is asked for twice"),
    (
        (Range("count", 1), Range("day", "2010-12-01")),
        {},
        r"ranges of count and day .* compound \(…, count, day\).*declared: ward\+c",
    ),
    ((Range("count", 1),), {"order": "day"}, r"only by a declared compound \(…, day, count\); declared: ward\+count, "),
    ((Range("name", "a"),), {"order": "count"}, "rows with a range of name come in the order of name"),
)


@pytest.mark.parametrize(("bounds", "more", "told"), NONSENSE)
def test_a_range_that_cannot_be_answered_says_what_can(
    bounds: tuple[Range, ...], more: dict[str, Any], told: str, request: pytest.FixtureRequest
) -> None:
    with place("memory", request) as opened, pytest.raises(Malformed, match=told):
        store = opened.open()
        made(store)
        store.find("visits", Query(ranges=bounds, **more))


def test_a_bound_need_not_be_a_value_of_its_field(store: ViewStore) -> None:
    """The end of a range lies behind the last value there is."""
    made(store)
    assert len(keys(store, Range("state", "o", "p"), limit=1_000)) == 40


def test_a_cursor_of_a_range_is_taken_by_another_range_of_the_order_and_by_no_other_order(store: ViewStore) -> None:
    """It is a place in an order; whichever is further on, it or the range's beginning, is where a page begins."""
    made(store)
    cursor = store.find("visits", Query(ranges=(Range("count", 3),), limit=4)).next
    assert keys(store, Range("count", 5, 9), cursor=cursor) == ["k7", "k8"]
    assert keys(store, Range("count", 20, 22), cursor=cursor) == ["k20", "k21"]
    assert keys(store, Range("count", 1, 5), cursor=cursor) == []
    for bounds, more in (((), {}), ((Range("day", "2010-12-01"),), {}), ((Range("count", 3),), {"descending": True})):
        with pytest.raises(Malformed, match="another order"):
            keys(store, *bounds, cursor=cursor, **more)


def test_a_view_without_a_compound_yet_says_that_it_is_being_built(store: ViewStore) -> None:
    """The gateways of the new version answer from the rows of the one before until theirs have caught up."""
    before = replace(VISITS, compounds=())
    made(store, before)
    [live] = [build for build in store.builds(["visits"]) if build.generation.state == "live"]
    assert store.make(VISITS, 2).state == "building"
    answers = store.beside()
    answers.attach(VISITS, live)
    asked = Query(where=(("ward", "a"),), ranges=(Range("count", 9, 20),))
    assert [row.key for row in answers.find("visits", asked).rows] == ["k9", "k12", "k15", "k18"]
    with pytest.raises(Unavailable, match="view building"):
        answers.find("visits", Query(ranges=(Range("count", 1),), order="seen_at"))


class Known(msgspec.Struct, frozen=True):
    name: str
    count: int
    state: str


def test_rows_of_a_version_that_indexes_what_this_one_does_not_know_are_found_all_the_same(store: ViewStore) -> None:
    """A gateway that is rolled back took, in Redis, another field's order for the one asked for."""
    made(store)
    [live] = store.builds(["visits"])
    earlier = replace(VISITS, row=Known, indexes=("state",), orders=("count",), compounds=())
    answers = store.beside()
    answers.attach(earlier, live)
    assert [row.value for row in answers.find("visits", Query(order="count", descending=True, limit=1)).rows] == [
        Known("k39", 39, "open")
    ]
    assert len(answers.find("visits", Query(where=(("state", "open"),), ranges=(Range("count", 0, 9),))).rows) == 9
