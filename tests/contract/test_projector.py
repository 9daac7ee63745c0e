"""Projectors on every view store: rows follow the log, whatever happens to the store, the log and other projectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.projections import (
    Bugs,
    Heard,
    Log,
    Noise,
    Said,
    domain,
    projector,
    reached,
    refold,
    running,
    until,
    words,
)
from tests.contract.viewstores import (
    KINDS,
    Place,
    place,
    rows_url,  # noqa: F401
)
from twofold.kernel.codec import Codec
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.view import AnyView, View

NAMES = ("ann", "bob", "cid", "dan", "eve")
SLICES = 3


@dataclass
class Bench:
    where: Place
    store: ViewStore
    log: Log
    bugs: Bugs
    codec: Codec
    view: AnyView
    also: AnyView

    def say(self, word: str, *to: str, stream: str = "talk-1") -> int:
        return self.log.append(Said(to or NAMES, word), stream)


@contextmanager
def set_up(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Of the kind that the fixture is parametrised with."""
    with place(request.param, request) as where:
        bugs = Bugs()
        codec, view, also = domain(bugs, "redis" if request.param == "redis" else "sql")
        yield Bench(where, where.open(), Log(), bugs, codec, view, also)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with set_up(request) as bench:
        yield bench


def test_rows_follow_the_log_and_checkpoints_move_over_what_a_view_ignores(bench: Bench) -> None:
    """A token may be the position of an event the view does not listen to: it must be reached all the same."""
    generations = [bench.store.make(view, SLICES) for view in (bench.view, bench.also)]
    for number in range(25):
        bench.say(f"w{number}", NAMES[number % 5], NAMES[number % 3])
        bench.log.append(Noise())
    slices = [slice_id for generation in generations for slice_id in generation.slice_ids()]
    with running(projector(bench.log, bench.store, (bench.view, bench.also), bench.codec), slices):
        for generation in generations:
            until(reached(bench.store, generation, 50), "all slices at the head")
        assert bench.store.load("heard", NAMES).keys() == set(NAMES)
        for view in (bench.view, bench.also):
            rows = {key: row.value for key, row in bench.store.load(view.name, NAMES).items()}
            assert rows == refold(bench.log, view, bench.codec)
        bench.say("")
        until(reached(bench.store, generations[0], 51), "the last event")
        until(reached(bench.store, generations[1], 51), "the last event")
        assert bench.store.load("heard", NAMES) == {}


def test_slices_at_one_place_share_one_reading_of_the_log(bench: Bench) -> None:
    """With eight views of four slices, every event would be read and decoded 32 times."""
    generations = [bench.store.make(view, SLICES) for view in (bench.view, bench.also)]
    for number in range(100):
        bench.say(f"w{number}", "ann")
    slices = [slice_id for generation in generations for slice_id in generation.slice_ids()]
    with running(projector(bench.log, bench.store, (bench.view, bench.also), bench.codec, page_events=50), slices):
        for generation in generations:
            until(reached(bench.store, generation, 100), "all slices at the head")
    assert bench.log.reads < 25, "2 pages, and a look a tick"


def test_a_slice_taken_over_goes_on_where_it_was_left(bench: Bench) -> None:
    """A member that comes or goes moves slices to others in mid-flight."""
    generation = bench.store.make(bench.view, SLICES)
    slices = generation.slice_ids()
    stores = [bench.where.open() for _ in range(2)]
    for store in stores:
        store.make(bench.view, SLICES)
    first, second = (projector(bench.log, store, (bench.view,), bench.codec) for store in stores)
    with running(first, slices), running(second, ()):
        for number in range(60):
            bench.say(f"w{number}")
            if number % 10 == 0:
                first.hold(slices[: number // 10 % 4])
                second.hold(slices[number // 10 % 4 :])
        until(reached(bench.store, generation, 60), "all slices at the head")
    everything = tuple(f"w{number}" for number in range(60))
    assert words(bench.store, bench.view, NAMES) == dict.fromkeys(NAMES, everything)


def test_two_projectors_that_both_believe_to_hold_a_slice_do_no_harm(bench: Bench) -> None:
    """A process stopped past its lease does not know it when it goes on."""
    generation = bench.store.make(bench.view, SLICES)
    stores = [bench.where.open() for _ in range(2)]
    for store in stores:
        store.make(bench.view, SLICES)
    projectors = [projector(bench.log, store, (bench.view,), bench.codec, page_events=3) for store in stores]
    with running(projectors[0], generation.slice_ids()), running(projectors[1], generation.slice_ids()):
        for number in range(120):
            bench.say(f"w{number}", NAMES[number % 5])
        until(reached(bench.store, generation, 120), "all slices at the head")
    for first, name in enumerate(NAMES):
        assert words(bench.store, bench.view, [name])[name] == tuple(f"w{number}" for number in range(first, 120, 5))


def test_a_store_that_was_emptied_is_filled_again_without_being_told(bench: Bench) -> None:
    """A flushed Redis comes back empty, with nobody to say so, and perhaps without a new event for hours."""
    generation = bench.store.make(bench.view, SLICES)
    for number in range(30):
        bench.say(f"w{number}")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 30), "all slices at the head")
        bench.where.empty()
        until(reached(bench.store, generation, 30), "all slices at the head again")
        bench.say("more")
        until(reached(bench.store, generation, 31), "the next event")
    expected = (*(f"w{number}" for number in range(30)), "more")
    assert words(bench.store, bench.view, NAMES) == dict.fromkeys(NAMES, expected)


def test_a_rebuild_does_not_hold_up_who_is_at_the_head(bench: Bench) -> None:
    """A new view starts at 0 beside others that people are looking at."""
    generation = bench.store.make(bench.view, 1)
    for number in range(5_000):
        bench.say(f"w{number}", f"n{number}")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec, 1_000), generation.slice_ids()):
        until(reached(bench.store, generation, 5_000), "the first view at the head")
    rebuilt = bench.store.make(bench.also, 1)
    both = projector(bench.log, bench.store, (bench.view, bench.also), bench.codec, 20)
    with running(both, [*generation.slice_ids(), *rebuilt.slice_ids()]):
        until(lambda: max(bench.store.positions("also").values()) > 0, "the rebuild has begun")
        bench.say("new", "ann")
        until(reached(bench.store, generation, 5_001), "the head")
        assert max(bench.store.positions("also").values()) < 5_000, "the head had to wait for the rebuild"


def test_what_does_not_answer_is_asked_again_until_it_does(bench: Bench) -> None:
    """Databases restart; a projector that gave up would have to be noticed by somebody."""
    generation = bench.store.make(bench.view, SLICES)
    bench.say("one")
    bench.log.away = Unavailable(Neighbour.LOG)
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(lambda: bench.store.positions("heard"), "a look")
        assert set(bench.store.positions("heard").values()) == {0}
        bench.log.away = None
        until(reached(bench.store, generation, 1), "the event")
        bench.log.away = RuntimeError("a bug")
        bench.say("two")
        bench.log.away = None
        until(reached(bench.store, generation, 2), "the next event")
    assert words(bench.store, bench.view, ["ann"]) == {"ann": ("one", "two")}


EVENTS = st.lists(
    st.tuples(st.lists(st.sampled_from(NAMES), unique=True, max_size=4), st.sampled_from(["a", "b", "", "c"])), max_size=40
)


@pytest.mark.parametrize("bench", [kind for kind in KINDS if kind != "opensearch"], indirect=True)  # an index takes long to make
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, pages=st.tuples(st.integers(1, 12), st.integers(1, 12)), slices=st.integers(1, 4), gap=st.integers(0, 40))
def test_a_view_built_in_one_go_equals_the_view_built_in_pieces(
    bench: Bench, events: list[tuple[list[str], str]], pages: tuple[int, int], slices: int, gap: int
) -> None:
    """Whatever the pages, the slices and the projectors that compete for them: a row is the fold of its events in log order."""
    with_slices = View(
        name=f"heard_{slices}",
        key="name",
        row=Heard,
        on=(Said,),
        keys=bench.view.keys,
        evolve=bench.view.evolve,
        store=bench.view.store,
    )
    generation = bench.store.make(with_slices, slices)
    bench.where.empty()
    log = Log()
    rest = [Said(tuple(to), word) for to, word in events]
    for event in rest[:gap]:
        log.append(event)
    competing = [projector(log, bench.store, (with_slices,), bench.codec, page) for page in pages]
    with running(competing[0], generation.slice_ids()), running(competing[1], generation.slice_ids()[::2]):
        for event in rest[gap:]:
            log.append(event)
        until(reached(bench.store, generation, len(rest)), "all slices at the head")
    rows = {key: row.value for key, row in bench.store.load(with_slices.name, NAMES).items()}
    assert rows == refold(log, with_slices, bench.codec)
