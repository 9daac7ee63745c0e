"""Questions by declared index: what every view store promises about order, pages and cursors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import msgspec
import pytest

from tests.contract.viewstores import (
    EVERYTHING,
    KINDS,
    NOON,
    Everything,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.errors import Malformed
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Query, Range

COUNTS = (-(2**63), -10, -9, 0, 9, 10, 2**63 - 1)
RATIOS = (-1e300, -2.5, -0.0, 0.0, 1e-9, 3.5, 1e300)
COLOURS = (None, "", "Z", "a", "a\x01", "ab", "é", "\U0001f4e6")
ROWS = {
    f"k{number}": Everything(
        name=f"k{number}",
        count=COUNTS[number % len(COUNTS)],
        ratio=RATIOS[number * 3 % len(RATIOS)],
        is_open=number % 3 == 0,
        seen_at=None if number % 4 == 0 else NOON + timedelta(microseconds=number * (-1) ** number),
        colour=COLOURS[number % len(COLOURS)],
    )
    for number in range(60)
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[ViewStore]:
    with place(request.param, request) as opened:
        store = opened.open()
        put(store, store.make(EVERYTHING, 3), ROWS, 60)
        yield store


def expected(query: Query) -> list[str]:
    """The same question answered in memory: absent values first, ties by key, all of it turned round when descending."""

    def place_of(row: Everything) -> tuple[Any, ...]:
        value = None if query.order in (None, "key") else getattr(row, str(query.order))
        return (value is not None, 0 if value is None else value.encode() if isinstance(value, str) else value, row.name)

    rows = [row for row in ROWS.values() if all(str(getattr(row, name)).lower() == str(value) for name, value in query.where)]
    return [row.name for row in sorted(rows, key=place_of, reverse=query.descending)]


def pages(store: ViewStore, query: Query) -> list[list[str]]:
    found: list[list[str]] = []
    cursor: str | None = None
    for _ in range(len(ROWS) + 2):
        page = store.find("everything", msgspec.structs.replace(query, cursor=cursor))
        assert page.position == 60
        found.append([row.key for row in page.rows])
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the pages never end")


def test_every_order_is_the_same_in_every_store_and_complete_at_every_page_size(store: ViewStore) -> None:
    """A page must continue exactly where the last one ended, also among equal values and where there are none."""
    orders = (None, "key", "name", "count", "ratio", "seen_at", "colour", "is_open")
    questions = [(None, None), ("colour", "a"), ("colour", ""), ("is_open", "true"), ("is_open", "false")]
    for order, descending, (index, value), limit in product(orders, (False, True), questions, (1, 7, 1_000)):
        if limit == 1 and index is None and order not in ("colour", "seen_at"):
            continue
        query = Query(() if index is None else ((index, value),), (), order, descending, limit)
        found = pages(store, query)
        assert [key for page in found for key in page] == expected(query), query
        assert all(len(page) == limit for page in found[:-1])


def test_a_page_continues_behind_its_last_row_even_when_that_one_is_gone(store: ViewStore) -> None:
    """A cursor is a place, not a row."""
    first = store.find("everything", Query(order="count", limit=10))
    generation = store.make(EVERYTHING, 3)
    put(store, generation, {first.rows[-1].key: None}, 60 + 1)
    second = store.find("everything", Query(order="count", limit=10, cursor=first.next))
    assert [row.key for row in second.rows] == expected(Query(order="count"))[10:20]


def test_one_may_also_ask_by_key(store: ViewStore) -> None:
    """`key` stands for the key field, whatever the view calls it."""
    for index, order in product(("key", "name"), (None, "key", "count")):
        page = store.find("everything", Query(where=((index, "k7"),), order=order))
        assert [row.key for row in page.rows] == ["k7"] and page.next is None
    assert store.find("everything", Query(where=(("key", "nobody"),))).rows == []
    behind = store.find("everything", Query(limit=1, cursor=store.find("everything", Query(limit=1)).next)).next
    assert store.find("everything", Query(where=(("key", "k0"),), cursor=behind)).rows == []


NONSENSE = (
    Query(where=(("count", "1"),)),
    Query(where=(("nothing", "1"),)),
    Query(order="parts"),
    Query(order="nothing"),
    Query(where=(("is_open", "perhaps"),)),
    Query(where=(("is_open", None),)),
    Query(where=(("colour", "a\0b"),)),
    Query(where=(("colour", "\ud800"),)),
    Query(limit=0),
    Query(limit=1_001),
    Query(cursor=""),
    Query(cursor="AAAA"),
    Query(cursor="\u20ac"),
    Query(cursor="x" * 10_000),
)


def test_a_question_that_cannot_be_answered_is_malformed(store: ViewStore) -> None:
    """It comes from a URL: it must never be a 500, and never an answer to another question."""
    for query in NONSENSE:
        with pytest.raises(Malformed):
            store.find("everything", query)


def test_a_cursor_of_another_order_is_refused(store: ViewStore) -> None:
    """Read as a place in this order it would skip rows."""
    cursor = store.find("everything", Query(order="count", limit=5)).next
    assert cursor is not None
    for other in (
        Query(cursor=cursor),
        Query(order="ratio", cursor=cursor),
        Query(order="count", descending=True, cursor=cursor),
    ):
        with pytest.raises(Malformed):
            store.find("everything", other)


def test_the_declared_names_are_told(store: ViewStore) -> None:
    """Whoever asks by a field that is not declared wants to know which are."""
    with pytest.raises(Malformed, match="colour, is_open, key, name"):
        store.find("everything", Query(where=(("count", "1"),)))


@pytest.mark.parametrize("most", [1, 7, 1_000_000])
def test_what_is_counted_is_what_the_pages_hold_and_no_more_than_was_asked_for(store: ViewStore, most: int) -> None:
    """Also of a question that a page answers in another order, and of a part of one."""
    one_kind = (("is_open", True),)
    for query in (
        Query(),
        Query(where=one_kind),
        Query(where=one_kind, ranges=(Range("seen_at", NOON, None),), order="seen_at"),
        Query(ranges=(Range("count", -10, 10),), order="count", descending=True),
        Query(where=(("colour", "nobody's"),)),
    ):
        there_are = len(store.find("everything", msgspec.structs.replace(query, limit=1_000)).rows)
        assert store.count("everything", query, most) == min(there_are, most)
    with pytest.raises(Malformed):
        store.count("everything", Query(where=(("numbers", 1),)), most)
