"""Several stores behind one port: a question about a view goes to its store, one about all views to every store there is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.contract.projections import Bugs, domain
from twofold.kernel.builds import Rebuild
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.rows import Advance, Drain, Generation, Promises, Query
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.stores import routed
from twofold.readmodels.stores.routed import RoutedViewStore

HEARD = domain(Bugs())[1]
SECONDS_MAX = 10.0


def named(name: str) -> AnyView:
    return replace(HEARD, name=name)


A, B, C = (named(name) for name in "abc")


class Said:
    """A store that answers each question with what it was asked, under its own name; or raises, or waits."""

    promises = Promises(is_atomic=True, commits_views_together=True)

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None
        self.goes_on: threading.Event | None = None
        self.answers: dict[str, Any] = {}

    def __getattr__(self, call: str) -> Any:
        if call.startswith("__"):
            raise AttributeError(call)

        def answer(*given: Any) -> Any:
            self.asked.append((call, *given))
            if self.goes_on is not None:
                self.goes_on.wait(SECONDS_MAX)
            if self.fails is not None:
                raise self.fails
            return self.answers.get(call, (self.name, call, *given))

        return answer

    def make(self, view: AnyView, slices: int) -> Generation:
        return Generation(view.name, 7, slices)

    def attach(self, view: AnyView, build: Any) -> Generation:
        self.asked.append(("attach", view.name, build))
        if self.fails is not None:
            raise self.fails
        return Generation(view.name, 1, 2)

    def beside(self) -> Said:
        return Said(f"beside {self.name}")


@pytest.fixture
def stores() -> Iterator[tuple[RoutedViewStore, Said, Said]]:
    """Of which the first has a and b, the other c."""
    first, other = Said("first"), Said("other")
    store = RoutedViewStore({"a": first, "b": first, "c": other})  # type: ignore[dict-item]
    yield store, first, other
    store.close()


Stores = tuple[RoutedViewStore, Said, Said]
SLICE = SliceId("c", 1, 0)
REBUILD = Rebuild("c", 2, 1)


def test_what_is_asked_of_one_view_is_asked_of_its_store_as_it_is(stores: Stores) -> None:
    store, first, other = stores
    drain, query = Drain(SLICE, 1, "k", 1), Query()
    asked: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
        ("swap", (Generation("c", 2, 1), 5), (Generation("c", 2, 1), 5)),
        ("rebuild", (C, 1.0, 2.0), (C, 1.0, 2.0, None)),
        ("note_rebuild", (REBUILD,), (REBUILD,)),
        ("marks", ("c",), ("c",)),
        ("load", ("c", ["k"]), ("c", ["k"])),
        ("drain", (drain,), (drain,)),
        ("get", ("c", ["k"]), ("c", ["k"])),
        ("find", ("c", query), ("c", query)),
        ("parked", ("c",), ("c", None, None)),
        ("parked_lines", ("c", True), ("c", True)),
        ("rekeyed", ("c",), ("c",)),
        ("waiting", (SLICE, "k", 3), (SLICE, "k", 3)),
        ("request_retry", ("c", "k"), ("c", "k")),
        ("discard", ("c", "k"), ("c", "k")),
    ]
    for call, given, wanted in asked:
        assert getattr(store, call)(*given) == ("other", call, *wanted)
    assert first.asked == []


def test_what_concerns_several_views_is_divided_among_their_stores(stores: Stores) -> None:
    store, first, other = stores
    for each, names in ((first, "ab"), (other, "c")):
        each.answers = {
            "builds": [f"build of {each.name}"],
            "rebuilt": [f"rebuild of {each.name}"],
            "positions": {SliceId(name, 1, 0): 5 for name in names},
            "marks": {SliceId(name, 1, 0): "m" for name in names},
            "load_together": {name: {"k": each.name} for name in names},
            "commit": {SliceId(names[-1], 1, 0)},
            "parked": [f"key of {each.name}"],
            "parked_counts": {names[0]: 3},
        }
    every = {SliceId(name, 1, 0) for name in "abc"}
    assert store.builds(["c", "a"]) == ["build of first", "build of other"]  # type: ignore[comparison-overlap]
    assert store.rebuilt(["c", "b"]) == ["rebuild of first", "rebuild of other"]  # type: ignore[comparison-overlap]
    assert store.positions().keys() == store.marks().keys() == every
    assert store.positions("a", "c").keys() == every
    loaded: Any = store.load_together({"a": ["k"], "c": ["l"]})
    assert loaded == {"a": {"k": "first"}, "b": {"k": "first"}, "c": {"k": "other"}}
    advances = [Advance(SliceId(name, 1, 0), 0, 1, {}) for name in "acb"]
    assert store.commit(advances) == {SliceId("b", 1, 0), SliceId("c", 1, 0)}
    generations = [Generation(name, 1, 1) for name in "bc"]
    store.use("me", generations, 2.0)
    assert store.parked() == ["key of first", "key of other"]  # type: ignore[comparison-overlap]
    assert store.parked(limit=3)
    assert store.parked_counts() == {"a": 3, "c": 3}
    assert first.asked == [
        ("builds", ["a"]),
        ("rebuilt", ["b"]),
        ("positions",),
        ("marks",),
        ("positions", "a"),
        ("load_together", {"a": ["k"]}),
        ("commit", [advances[0], advances[2]]),
        ("use", "me", generations[:1], 2.0),
        ("parked", None, None, None),
        ("parked", None, None, 3),
        ("parked_counts",),
    ]
    assert [asked for asked in other.asked if asked[0] in ("builds", "commit", "use")] == [
        ("builds", ["c"]),
        ("commit", [advances[1]]),
        ("use", "me", generations[1:], 2.0),
    ]


def test_beside_it_stores_stand_as_they_do_here(stores: Stores) -> None:
    store, _, _ = stores
    other = store.beside()
    assert [cast(Any, other.get(view, []))[0] for view in "abc"] == ["beside first", "beside first", "beside other"]
    other.close()


def test_a_store_that_is_away_is_left_out_and_none_is_an_error(stores: Stores) -> None:
    store, first, other = stores
    other.answers["parked_counts"] = {"c": 1}
    first.answers["parked_counts"] = {"a": 1}
    first.fails = Unavailable(Neighbour.ROWS, "away")
    assert store.parked_counts() == {"c": 1}
    other.fails = Unavailable(Neighbour.ROWS, "gone")
    with pytest.raises(Unavailable, match="gone"):
        store.parked_counts()
    with pytest.raises(Unavailable, match="away"):
        store.get("a", ["k"])
    alone = RoutedViewStore({"a": first})  # type: ignore[dict-item]
    with pytest.raises(Unavailable, match="away"):
        alone.parked_counts()
    assert RoutedViewStore({}).parked_counts() == {}


def test_a_store_that_answers_too_late_is_not_asked_until_it_has(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routed, "ANSWER_SECONDS_MAX", 0.05)
    store, first, other = stores
    first.answers["parked_counts"], other.answers["parked_counts"] = {"a": 1}, {"c": 1}
    first.goes_on = threading.Event()
    assert store.parked_counts() == {"c": 1}
    assert store.parked_counts() == {"c": 1}
    assert len(first.asked) == 1
    first.goes_on.set()
    [late] = store._late.values()
    late.result(SECONDS_MAX)
    monkeypatch.setattr(routed, "ANSWER_SECONDS_MAX", SECONDS_MAX)
    assert store.parked_counts() == {"a": 1, "c": 1}


def test_views_are_attached_when_they_are_first_asked_for() -> None:
    """To the generation that is chosen, each once."""
    first, other = Said("first"), Said("other")
    first.answers["builds"] = ["theirs"]

    def chosen(view: AnyView, builds: Any) -> Any:
        return builds[0] if view is A else None

    store = RoutedViewStore({"a": first, "b": first, "c": other}, [A, B, C], chosen)  # type: ignore[dict-item]
    assert store.generation("a") is None
    store.get("a", [])
    store.get("a", [])
    assert [asked for asked in first.asked if asked[0] in ("builds", "attach")] == [("builds", ["a"]), ("attach", "a", "theirs")]
    assert store.generation("a") == Generation("a", 1, 2)
    other.fails = Unavailable(Neighbour.ROWS, "away")
    assert [one.view for one in store.attach_all()] == ["a", "b"]
    assert [asked for asked in other.asked if asked[0] == "attach"] == []
    other.fails = Misconfigured("not made")
    other.answers["builds"] = []
    with pytest.raises(Unavailable, match="rows have not been made") as not_made:
        store.get("c", [])
    assert not_made.value.detail == "not made"
    other.fails = None
    assert store.parked_counts is not None and [one.view for one in store.attach_all()] == ["a", "b", "c"]
    assert store.make(named("c"), 3) == store.generation("c") == Generation("c", 7, 3)
    assert store._unattached == {}
    store.close()


def test_a_store_that_is_away_is_asked_once_for_all_of_its_views() -> None:
    first, other = Said("first"), Said("other")
    first.fails = Unavailable(Neighbour.ROWS, "away")
    store = RoutedViewStore({"a": first, "b": first, "c": other}, [A, B, C])  # type: ignore[dict-item]
    assert [one.view for one in store.attach_all()] == ["c"]
    assert [asked[1] for asked in first.asked] == ["a"]
    first.fails = None
    first.answers["parked_counts"], other.answers["parked_counts"] = {}, {}
    store.parked_counts()
    assert [asked[1] for asked in first.asked if asked[0] == "attach"] == ["a", "a", "b"]
    store.close()


@pytest.mark.parametrize(
    ("ours", "others", "together", "is_atomic"),
    [((True, True), None, True, True), ((True, True), (True, True), False, True), ((False, False), None, False, False)],
)
def test_together_they_promise_what_all_of_them_do(ours: Any, others: Any, together: bool, is_atomic: bool) -> None:
    """And nothing is committed together in two."""
    found = []
    for promised in filter(None, (ours, others)):
        found.append(Said("one"))
        found[-1].promises = Promises(*promised)
    store = RoutedViewStore({str(number): one for number, one in enumerate(found)})  # type: ignore[misc]
    assert (store.promises.commits_views_together, store.promises.is_atomic) == (together, is_atomic)
    store.close()


def test_closing_lets_go_of_what_waits(stores: Stores) -> None:
    store, first, _ = stores
    store.close()
    with pytest.raises(RuntimeError):
        store.parked_counts()
