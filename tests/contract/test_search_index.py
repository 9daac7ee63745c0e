"""Rows in OpenSearch: what can happen to an index that cannot happen to a table beside its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.contract.searches import ARTICLES, ROWS, Article
from tests.contract.viewstores import (
    SearchPlace,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable, WrongPassword
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Generation, Query, Row, Search, SearchPage
from twofold.readmodels.stores.search.http import SearchClient
from twofold.readmodels.stores.search.indexes import Indexes
from twofold.readmodels.stores.search.ledger import Entry
from twofold.readmodels.stores.search.store import SearchViewStore


@pytest.fixture
def where(request: pytest.FixtureRequest) -> Iterator[SearchPlace]:
    with place("opensearch", request) as opened:
        assert isinstance(opened, SearchPlace)
        yield opened


@pytest.fixture
def store(where: SearchPlace) -> ViewStore:
    store = where.open()
    put(store, store.make(ARTICLES, 3), ROWS, 60)
    return store


def keys(store: ViewStore, q: str) -> set[str]:
    return {row.key for row in store.find("articles", Search(q=q)).rows}


def anew(store: ViewStore) -> Generation:
    """Fold everything again, as a projector does once its slices stand at 0."""
    generation = store.attach(ARTICLES)
    assert set(store.positions("articles").values()) == {0}
    assert store.load("articles", ["a1"]) == {}
    put(store, generation, ROWS, 60)
    return generation


def test_what_is_misspelt_is_found_where_nothing_is_spelt_so(store: ViewStore) -> None:
    """Only then: who spells it right is shown what he asked for and nothing else."""
    assert keys(store, "lantren") == {"a2"} and keys(store, "whyte metall") == {"a2"}
    assert keys(store, "heart") == {"a1", "a5"}, "and not hearts"
    assert keys(store, "7") == {"a6"} and keys(store, "8 75") == set(), "another number is no other spelling"
    page = store.find("articles", Search(q="lantren", highlight=True, facets=("colour",), limit=1))
    assert isinstance(page, SearchPage) and page.facets == {"colour": {"white": 1}}
    assert page.highlights == [{"title": ["White metal <em>lantern</em>"]}]


def test_an_index_that_is_deleted_shows_nothing_and_is_filled_anew(where: SearchPlace, store: ViewStore) -> None:
    """Its rows are gone, so its checkpoint is, too: an answer never claims to know the log."""
    where.empty()
    page = store.find("articles", Query())
    assert page.rows == [] and page.position == 0
    [found] = store.get("articles", ["a1"])
    assert found.row is None and found.position == 0
    anew(store)
    assert keys(store, "heart") == {"a1", "a5"} and store.find("articles", Query()).position == 60


def test_an_index_that_is_emptied_is_filled_anew(where: SearchPlace, store: ViewStore) -> None:
    """Somebody deletes every document, and leaves the index."""
    [name] = where._indexes()
    there = where.client.ask("POST", f"/{name}/_search", {"size": 100, "_source": False})["hits"]["hits"]
    where.client.send(f"/{name}/_bulk?refresh=true", [{"delete": {"_id": hit["_id"]}} for hit in there])
    assert store.find("articles", Query()).position == 0
    anew(store)
    assert keys(store, "heart") == {"a1", "a5"}


def test_another_index_in_its_place_is_filled_anew(where: SearchPlace, store: ViewStore) -> None:
    """A snapshot that somebody brought back says less than the ledger: what it lacks would never come."""
    [name] = where._indexes()
    put(store, store.attach(ARTICLES), {"late": Article("late", "Late")}, 61)
    markers = [f"!stream/{slice}" for slice in range(3)]
    found = where.client.ask("POST", f"/{name}/_mget", {"ids": markers})["docs"]
    for one in found:
        older = {**one["_source"], "position": 60}
        where.client.ask("PUT", f"/{name}/_doc/{one['_id'].replace('/', '%2F')}?refresh=true", older)
    other = where.open()
    other.attach(ARTICLES)
    assert other.load("articles", ["late"]) == {}
    assert set(other.positions("articles").values()) == {0}


def test_what_was_committed_and_not_sent_is_sent_by_the_next(
    where: SearchPlace, store: ViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and checkpoint move together in the ledger: whoever takes over finds both, and folds nothing twice."""
    generation = store.attach(ARTICLES)

    with monkeypatch.context() as patch:
        patch.setattr(SearchViewStore, "_send", lambda *_: None)
        rows: dict[str, Any] = {"a1": Article("a1", "Blue bird"), "a5": None}
        put_unsent(store, generation, rows)
    assert store.find("articles", Query()).position == 60, "what is not sent is not shown, and nobody says so"
    assert set(store.positions("articles").values()) == {60}
    other = where.open()
    other.attach(ARTICLES)
    assert other.load("articles", ["a1", "a5"]) == {"a1": Row("a1", Article("a1", "Blue bird"), 61)}
    assert keys(other, "bird") == {"a1"} and other.find("articles", Query()).position == 61


def put_unsent(store: ViewStore, generation: Generation, rows: dict[str, Any]) -> None:
    """A step from 60 to 61."""
    every = {key: None if value is None else Row(key, value, 61) for key, value in rows.items()}
    for slice_id in generation.slice_ids():
        mine = {key: row for key, row in every.items() if slice_of(key, generation.slices) == slice_id.slice}
        assert store.commit([Advance(slice_id, 60, 61, mine)]) == {slice_id}


def test_what_is_sent_late_changes_nothing(where: SearchPlace, store: ViewStore) -> None:
    """A process that was stopped while it sent goes on when another one has taken its slices: rows that have moved on stay, and
    those that are gone stay gone."""
    generation = store.attach(ARTICLES)
    index = Indexes(where.client, where.prefix).of(generation)
    there = index.documents(["a1", "a5"])
    put(store, generation, {"a1": Article("a1", "Blue bird"), "a5": None}, 61)
    late = [Entry(key, one.version, _json(one.document)) for key, one in there.items()]
    assert index.write(late, is_awaited=True)
    assert index.documents(["a5"])["a5"].document["live"] is False and keys(store, "bird") == {"a1"}
    assert store.load("articles", ["a1", "a5"]).keys() == {"a1"}


def test_graves_are_swept_when_nobody_can_be_that_late(where: SearchPlace, store: ViewStore) -> None:
    generation = store.attach(ARTICLES)
    put(store, generation, {"a1": None}, 61)
    index = Indexes(where.client, where.prefix).of(generation)
    index.sweep()
    assert index.documents(["a1"])["a1"].document["live"] is False
    time.sleep(0.01)
    index.sweep(older_than_seconds=0.0)
    assert index.documents(["a1"]) == {} and keys(store, "white") == {"a2", "a5"}


def test_the_alias_is_the_live_ones(where: SearchPlace, store: ViewStore) -> None:
    """For other people's tools; an index that nobody needs is dropped."""
    alias = f"{where.prefix}-articles"
    assert list(where.client.ask("GET", f"/_alias/{alias}")) == [f"{alias}-g1"]
    begun = store.rebuild(ARTICLES, 0.0, time.time())
    assert begun is not None and begun.generation == 2
    beside = store.beside()
    [_, building] = store.builds(["articles"])
    beside.attach(ARTICLES, building)
    put(beside, building.generation, ROWS, 60)
    assert store.swap(building.generation, 60)
    assert list(where.client.ask("GET", f"/_alias/{alias}")) == [f"{alias}-g2"]
    assert [row.key for row in beside.find("articles", Query(limit=1)).rows] == ["a1"]


def test_a_server_that_is_away_or_refuses_is_unavailable(where: SearchPlace, store: ViewStore) -> None:
    """And nothing that was committed meanwhile is lost: it is sent when it answers again."""
    away = SearchClient("http://127.0.0.1:9")
    with pytest.raises(Unavailable) as refused:
        away.ask("GET", "/")
    assert (refused.value.neighbour, refused.value.reason) == (Neighbour.SEARCH, "no connection")
    for url in ("ftp://h:1", "http://", "http://h:port", "nothing"):
        with pytest.raises(Misconfigured, match="TWOFOLD_SEARCH_URL"):
            SearchClient(url)
    assert issubclass(WrongPassword, Unavailable)


def _json(document: Any) -> str:
    return msgspec.json.encode(document).decode()
