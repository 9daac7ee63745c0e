"""Searches: what every store promises that views with `store="search"` are kept in."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import msgspec
import pytest

from tests.contract.searches import ARTICLES, ROWS, Article
from tests.contract.viewstores import (
    NOON,
    SEARCHED_KINDS,
    Place,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.errors import Malformed, Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Range, Search, SearchPage

HEARTS = {"a1", "a5"}


@pytest.fixture(params=SEARCHED_KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


@pytest.fixture
def store(where: Place) -> ViewStore:
    store = where.open()
    put(store, store.make(ARTICLES, 3), ROWS, 60)
    return store


def searched(store: ViewStore, q: str = "", **asked: Any) -> SearchPage:
    page = store.find("articles", Search(q=q, **asked))
    assert isinstance(page, SearchPage)
    return page


def keys(page: SearchPage) -> list[str]:
    return [row.key for row in page.rows]


QUESTIONS: dict[str, set[str]] = {
    "heart": HEARTS,
    "HEART white": HEARTS,
    "heart*": {*HEARTS, "a3"},
    "h*": {"a1", "a3", "a4", "a5"},
    "heart wool*": {"a5"},
    "creme brulee": {"a6"},
    "CRÈME": {"a6"},
    "7.5": {"a6"},
    "5": {"a6"},
    "strasse": {"a6"},
    "osterreich": {"a6"},
    "αθήνα": {"a7"},
    "\u5546\u54c1": {"a7"},
    "\u5546*": {"a7"},
    "unheard": set(),
    "neill": {"a8"},
    "50": {"a8"},
    "union jack": set(),
    "x" * 300: {"a7"},
}


def test_a_row_is_found_by_every_word_of_the_question(store: ViewStore) -> None:
    """The same rows in every store, however words are spelt, and wherever in the searched fields they stand."""
    for q, found in QUESTIONS.items():
        page = searched(store, q)
        assert set(keys(page)) == found and page.total == len(found), q
        assert page.position == 60 and not page.has_parked


def test_the_best_come_first_and_ties_by_key(store: ViewStore) -> None:
    page = searched(store, "heart")
    assert keys(page) == ["a5", "a1"], "said more often, among fewer words"
    scores = [score or 0.0 for score in page.scores]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0
    assert searched(store).scores == [None] * len(ROWS)


def test_an_empty_question_finds_everything_and_one_without_words_nothing(store: ViewStore) -> None:
    assert keys(searched(store)) == keys(searched(store, "  ")) == sorted(ROWS)
    assert keys(searched(store, '"*"')) == []
    assert searched(store, "()").total == 0


def test_facets_count_all_that_is_found(store: ViewStore) -> None:
    """Not the page alone; the most frequent first; rows without a value are not counted."""
    page = searched(store, facets=("colour", "is_sold"), limit=1)
    assert page.facets == {"colour": {"white": 3, "red": 2}, "is_sold": {"false": 4, "true": 4}}
    assert list(page.facets["colour"]) == ["white", "red"] and page.total == 8
    assert searched(store, "heart", facets=("colour",)).facets == {"colour": {"white": 1}}
    assert searched(store, "nothing", facets=("colour",)).facets == {"colour": {}}


def test_what_is_searched_for_may_be_filtered_and_ordered(store: ViewStore) -> None:
    """Indexes, ranges of several orders at once, and any order: a search looks at all it finds anyway."""
    assert set(keys(searched(store, "white", where=(("is_sold", "true"),)))) == {"a1", "a5"}
    assert set(keys(searched(store, "heart*", ranges=(Range("price", 0, 40),)))) == {"a1", "a3"}
    dear = (Range("price", 10, None), Range("made_at", NOON + timedelta(days=2), NOON + timedelta(days=5)))
    assert keys(searched(store, "h*", ranges=dear, order="price", descending=True)) == ["a5", "a3"]
    assert keys(searched(store, ranges=dear)) == ["a3", "a5"]
    assert keys(searched(store, "heart*", order="key")) == ["a1", "a3", "a5"]
    assert keys(searched(store, where=(("colour", "red"), ("sku", "a3")))) == ["a3"]


def test_pages_follow_each_other_in_every_order(store: ViewStore) -> None:
    """Complete, without doubles, and told the same total and facets each time."""
    for q, order, descending, limit in product(("", "h*"), (None, "made_at", "price", "colour", "key"), (False, True), (1, 3)):
        asked: dict[str, Any] = {"order": order, "descending": descending and order is not None, "facets": ("colour",)}
        whole, found, cursor = searched(store, q, **asked), list[str](), None
        for _ in range(len(ROWS) + 1):
            page = searched(store, q, **asked, limit=limit, cursor=cursor)
            assert (page.total, page.facets) == (whole.total, whole.facets)
            found, cursor = found + keys(page), page.next
            if cursor is None:
                break
        assert found == keys(whole) and len(set(found)) == whole.total, (q, order, descending, limit)


def test_a_range_is_kept_behind_a_cursor(store: ViewStore) -> None:
    asked: dict[str, Any] = {"ranges": (Range("price", 20, 60),), "limit": 2}
    first = searched(store, **asked)
    second = searched(store, **asked, cursor=first.next)
    assert keys(first) + keys(second) == ["a3", "a4", "a5", "a6"] and second.next is None
    assert first.total == second.total == 4


def test_highlights_show_where_as_html(store: ViewStore) -> None:
    """What a row holds is escaped: a browser is shown text, never what somebody wrote into an address."""
    [found] = searched(store, "creme more", highlight=True).highlights
    assert found["title"] == ["<em>Crème</em>-brûlée set, 7.5 cm"]
    assert found["body"] == ["Österreich &lt;b&gt;&amp; <em>more</em>&lt;/b&gt;, Straße"]
    assert searched(store, "heart").highlights == [{}, {}]
    marked = searched(store, "heart*", highlight=True, order="key").highlights
    assert marked[1] == {"title": ["Cream cupid <em>hearts</em> coat hanger"]}


def test_a_row_that_changes_is_found_by_what_it_says_now(store: ViewStore) -> None:
    generation = store.make(ARTICLES, 3)
    put(store, generation, {"a1": Article("a1", "Blue bird"), "a5": None, "b1": Article("b1", "Blue heart")}, 61)
    assert keys(searched(store, "heart")) == ["b1"]
    assert set(keys(searched(store, "blue"))) == {"a1", "b1"}
    put(store, generation, {"b1": None, "a1": Article("a1", "Blue bird", price=9)}, 62)
    page = searched(store, "blue", facets=("is_sold",))
    assert keys(page) == ["a1"] and page.facets == {"is_sold": {"false": 1}} and page.position == 62


HOSTILE = (
    '"',
    "'; DROP TABLE articles__g1; --",
    "heart AND NOT white OR (",
    "title:heart NEAR/2 white ^ - + ~ \\",
    "heart & !white | <-> :*",
    "{} [] /re.*/ * ** ?",
    "%s %d {0} \u202e\ufeff\x01",
    "\U0001f4e6 \u0301\u0301 ﬀ Ǆ ½ ² Ⅷ",
    "AND",
    "NEAR",
    "null",
)


def test_a_question_is_words_whatever_is_between_them(store: ViewStore) -> None:
    """Nothing in it is an operator of some store's own language, so nothing in it can be wrong."""
    for q in HOSTILE:
        found = searched(store, q, facets=("colour",), highlight=True)
        assert found.total == (len(HEARTS) if "heart & !white" in q else 0), q


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"facets": ("nothing",)}, "no facet 'nothing'; declared: colour, is_sold"),
    ({"facets": ("price",)}, "no facet 'price'"),
    ({"q": " ".join(f"w{number}" for number in range(33))}, "more than 32 words"),
    ({"q": "heart", "cursor": "AAAA"}, "not a cursor"),
    ({"q": "heart", "order": "title"}, "no order 'title'"),
    ({"where": (("title", "x"),)}, "no index 'title'"),
)


def test_what_is_not_declared_is_refused_with_what_is(store: ViewStore) -> None:
    for asked, said in REFUSED:
        with pytest.raises(Malformed, match=said):
            searched(store, **asked)


def test_a_cursor_of_another_order_is_refused(store: ViewStore) -> None:
    by_score = searched(store, "h*", limit=1).next
    with pytest.raises(Malformed, match="not a cursor"):
        searched(store, "h*", limit=1, order="price", cursor=by_score)
    with pytest.raises(Malformed, match="not a cursor"):
        searched(store, limit=1, cursor=by_score)


def test_a_long_question_costs_no_more_than_its_length(store: ViewStore) -> None:
    """A prefix of one letter, and words that are found nowhere: the worst that a short text can ask for."""
    started = time.monotonic()
    for q in ("a " * 5_000, "a" * 10_000, "* " * 5_000, '"' * 10_000, " ".join(f"{chr(97 + n)}*" for n in range(26))):
        searched(store, q, highlight=True)
    assert time.monotonic() - started < 2.0


def test_a_row_of_many_words_is_kept(store: ViewStore) -> None:
    """Of more words than PostgreSQL's tsvector takes those that come first are found, up to the same in every store."""
    long = " ".join([*(f"word{number:06}-{'z' * 70}" for number in range(30_000)), "lastly"])
    put(store, store.make(ARTICLES, 3), {"long": Article("long", "Encyclopedia", body=long)}, 61)
    assert keys(searched(store, "encyclopedia word000123")) == ["long"]
    assert keys(searched(store, "lastly")) == []


def test_other_searched_fields_are_another_generation(where: Place, store: ViewStore) -> None:
    """Rows are written with their words: what was not is folded anew, and until then those fields cannot be asked for."""
    old = searched(store, "wood")
    wider = dataclasses.replace(ARTICLES, text=("title", "body", "sku"))
    generation = where.open().make(wider, 3)
    assert generation.number == 2 and generation.state == "building"
    beside = where.open().beside()
    [live, _] = beside.builds(["articles"])
    beside.attach(dataclasses.replace(ARTICLES, text=("title",)), live)
    assert keys(searched(beside, "wood")) == keys(old), "what is searched is what was written"
    beside.attach(wider, live)
    with pytest.raises(Unavailable, match="view building"):
        searched(beside, "wood")


def test_a_row_without_its_words_is_not_there(store: ViewStore) -> None:
    """The rows that are searched are those that are asked for by key."""
    [found] = store.get("articles", ["a6"])
    [row] = searched(store, "brulee").rows
    assert found.row == row and row.value == ROWS["a6"] and row.position == 60
    assert msgspec.structs.asdict(row.value)["body"].startswith("Österreich")
