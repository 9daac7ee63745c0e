"""A bug that was mended in `keys`: what waits is not of the key any more that it waits behind, and nothing of it may be lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.projections import projector, reached, running, until, words
from tests.contract.test_projector import SLICES, Bench, set_up
from tests.contract.viewstores import (
    KINDS,
    rows_url,  # noqa: F401
)
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import REKEYED, Generation, ParkedKey

WORDS = ("one", "poison", "two")


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with set_up(request) as bench:
        yield bench


@pytest.fixture
def generation(bench: Bench) -> Generation:
    return bench.store.make(bench.view, SLICES)


def _name_in(slice_number: int) -> str:
    return next(f"new{number}" for number in range(99) if slice_of(f"new{number}", SLICES) == slice_number)


def _retried(bench: Bench, key: str) -> ParkedKey:
    """The parked key after one retry more, which was in vain."""
    before = _only(bench.store).attempts
    assert bench.store.request_retry("heard", key)
    until(lambda: _only(bench.store).attempts > before, "retried")
    return _only(bench.store)


def _only(store: ViewStore) -> ParkedKey:
    [parked] = store.parked()
    return parked


@pytest.mark.parametrize("key", ["ann", ""])
@pytest.mark.parametrize("is_far", [False, True], ids=["same slice", "another slice"])
def test_an_event_that_is_of_another_key_now_stays_parked_and_says_what_to_do(
    bench: Bench, generation: Generation, key: str, is_far: bool
) -> None:
    """It was taken from the line and folded nowhere. The other row may have gone on without it: nobody can tell."""
    bench.bugs.words = {"poison"}
    for word in WORDS:
        bench.say(word, key)
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
        assert bench.store.rekeyed("heard") is None
        other = _name_in((slice_of(key, SLICES) + is_far) % SLICES)
        bench.bugs.words, bench.bugs.renamed = set(), {key: other}
        parked = _retried(bench, key)
        assert (parked.key, parked.position, parked.waiting, parked.retry_requested) == (key, 2, 2, False)
        assert parked.error.startswith(f"{REKEYED}; give the view another revision (event 2, Said, stream talk-1)")
        assert words(bench.store, bench.view, [key, other]) == {key: ("one",)}
        assert bench.store.rekeyed("heard") == 2
        bench.bugs.renamed = {}
        assert bench.store.request_retry("heard", key)
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, [key, other]) == {key: WORDS}
        assert bench.store.rekeyed("heard") is None


def test_what_another_bug_says_is_not_taken_for_it(bench: Bench, generation: Generation) -> None:
    """Every key of the view would be said to wait."""
    bench.bugs.words = {"poison"}
    bench.say("poison", "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(lambda: bench.store.parked(), "parked")
        bench.bugs.renamed = {"ann": "zoe"}
        _retried(bench, "ann")
        assert bench.store.rekeyed("heard") == 1
        bench.bugs.renamed = {}
        assert "cannot fold poison" in _retried(bench, "ann").error
        assert bench.store.rekeyed("heard") is None


def test_a_later_event_of_a_line_is_no_more_lost_than_the_first(bench: Bench, generation: Generation) -> None:
    """The mended `keys` may leave the first where it is; who gives the other up says so himself."""
    bench.bugs.words = {"poison"}
    for word in WORDS:
        bench.say(word, "ann")
    bench.say("three", "ann", "bob")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 4), "all slices at the head")
        bench.bugs.words, bench.bugs.lost = set(), {"two"}
        parked = _retried(bench, "ann")
        assert (parked.position, parked.waiting) == (3, 2) and parked.error.startswith(REKEYED)
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("one", "poison")}
        assert bench.store.discard("heard", "ann")
        until(lambda: not bench.store.parked(), "given up")
        assert words(bench.store, bench.view, ["ann", "bob"]) == {"ann": ("one", "poison", "three"), "bob": ("three",)}


def test_an_event_that_is_of_no_key_now_waits_no_longer(bench: Bench, generation: Generation) -> None:
    """The mending was to leave such events out: then the rows are what a fresh fold makes of them."""
    bench.bugs.words = {"poison"}
    for word in WORDS:
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
        bench.bugs.words, bench.bugs.unheard = set(), {"poison"}
        assert bench.store.request_retry("heard", "ann")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("one", "two")}


def test_what_waits_for_its_stream_is_folded_wherever_it_belongs_when_that_goes_on(bench: Bench, generation: Generation) -> None:
    """It waited in the slice of the key it had, and the slice of the key it has now knew nothing of it."""
    bench.bugs.nameless = {"bad"}
    bench.say("one", "ann")
    bench.say("bad", "ann")
    bench.say("two", "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
        other = _name_in((slice_of("ann", SLICES) + 1) % SLICES)
        bench.bugs.nameless, bench.bugs.renamed = set(), {"ann": other}
        assert bench.store.request_retry("heard", "!stream/talk-1")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, ["ann", other]) == {"ann": ("one",), other: ("bad", "two")}
