"""Events that cannot be folded: they hold up their own key and nobody else, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.contract.projections import projector, reached, running, until, words
from tests.contract.test_projector import NAMES, SLICES, Bench, set_up
from tests.contract.viewstores import (
    KINDS,
    rows_url,  # noqa: F401
)
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Drain, Generation, ParkedKey, Row
from twofold.kernel.view import SliceId


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with set_up(request) as bench:
        yield bench


@pytest.fixture
def generation(bench: Bench) -> Generation:
    return bench.store.make(bench.view, SLICES)


def test_a_poison_event_parks_its_key_and_no_other(bench: Bench, generation: Generation) -> None:
    """One customer's odd order must not stop everybody's views, nor may that customer's later orders overtake it."""
    bench.bugs.words = {"poison"}
    bench.say("one")
    poison = bench.say("poison", "ann")
    bench.say("two")
    bench.say("three")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 4), "all slices at the head")
        assert words(bench.store, bench.view, NAMES) == {"ann": ("one",)} | dict.fromkeys(NAMES[1:], ("one", "two", "three"))
        [parked] = bench.store.parked()
        assert (parked.key, parked.position, parked.waiting, parked.attempts) == ("ann", poison, 3, 1)
        assert "RuntimeError: cannot fold poison" in parked.error
        bench.say("four")
        until(reached(bench.store, generation, 5), "the next event")
        assert bench.store.waiting(parked.slice, "ann", 10) == [2, 3, 4, 5]


def test_a_bug_that_parks_many_keys_tells_once_where_it_is_and_never_what_they_hold(bench: Bench, generation: Generation) -> None:
    """A key that is parked was silent; and neither a retry in vain nor the next event may tell it again."""
    bench.bugs.words = {"poison"}
    with capture_logs() as logs, running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        for number in range(3):
            bench.say("poison")
            until(reached(bench.store, generation, number + 1), "all slices at the head")
        assert bench.store.request_retry("heard", "ann")
        until(
            lambda: {"ann": 2} | dict.fromkeys(NAMES[1:], 1) == {p.key: p.attempts for p in bench.store.parked()}, "tried again"
        )
    told = [log for log in logs if log["event"] == "keys parked"]
    assert {log["view"] for log in told} == {"heard"} and sum(log["keys"] for log in told) == len(NAMES)
    ((places,),) = [log["tracebacks"] for log in told if "tracebacks" in log]
    assert places[-1] == "RuntimeError" and "in " in places[0]
    assert "cannot fold poison" not in str(logs)


@pytest.mark.parametrize("page_events", [2, 5, 100])
def test_a_retry_drains_the_line_in_order(bench: Bench, generation: Generation, page_events: int) -> None:
    """After the fix the row is what it would have been had there never been a bug."""
    bench.bugs.words = {"poison"}
    for word in ("one", "poison", "two", "three", "four", "five"):
        bench.say(word)
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec, page_events), generation.slice_ids()):
        until(reached(bench.store, generation, 6), "all slices at the head")
        until(lambda: len(bench.store.parked()) == len(NAMES), "all parked")
        bench.bugs.words = set()
        assert bench.store.request_retry("heard", "ann")
        until(lambda: "ann" not in {parked.key for parked in bench.store.parked()}, "the line is drained")
        bench.say("six")
        until(reached(bench.store, generation, 7), "the next event")
        assert words(bench.store, bench.view, ["ann", "bob"]) == {
            "ann": ("one", "poison", "two", "three", "four", "five", "six"),
            "bob": ("one",),
        }


def test_a_retry_without_a_fix_changes_nothing_but_the_count(bench: Bench, generation: Generation) -> None:
    """An operator may try as often as they like."""
    bench.bugs.words = {"poison"}
    for word in ("poison", "two"):
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(lambda: bench.store.parked(), "parked")
        for attempts in (2, 3):
            bench.store.request_retry("heard", "ann")
            until(_is_tried(bench, attempts), "tried")
        [parked] = bench.store.parked()
        assert (parked.position, parked.waiting, parked.retry_requested) == (1, 2, False)
        assert words(bench.store, bench.view, NAMES) == {}


def _is_tried(bench: Bench, attempts: int) -> Callable[[], bool]:
    return lambda: bench.store.parked()[0].attempts == attempts


def test_a_retry_that_meets_another_poison_event_stays_there(bench: Bench, generation: Generation) -> None:
    """What was folded before it is kept, and not folded again by the next retry."""
    bench.bugs.words = {"bad", "worse"}
    for word in ("bad", "two", "worse", "four"):
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(lambda: bench.store.parked(), "parked")
        until(reached(bench.store, generation, 4), "all slices at the head")
        bench.bugs.words = {"worse"}
        bench.store.request_retry("heard", "ann")
        until(lambda: bench.store.parked()[0].position == 3, "as far as the next one")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("bad", "two")}
        assert bench.store.parked()[0].waiting == 2
        bench.store.discard("heard", "ann")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("bad", "two", "four")}


def test_a_discard_drops_the_poison_event_alone(bench: Bench, generation: Generation) -> None:
    """Asked for twice in a row, it must not take the next event with it."""
    bench.bugs.words = {"poison"}
    for word in ("one", "poison", "two", "three"):
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec, 2), generation.slice_ids()):
        until(lambda: bench.store.parked(), "parked")
        until(reached(bench.store, generation, 4), "all slices at the head")
        bench.store.discard("heard", "ann")
        bench.store.discard("heard", "ann")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("one", "two", "three")}


@pytest.mark.parametrize(("word", "why"), [("huge", "64 bits"), ("nul\0", "NUL"), ("\0nul", "NUL")])
def test_a_row_that_no_store_can_hold_parks_its_key(bench: Bench, generation: Generation, word: str, why: str) -> None:
    """Found out by the store it would take the whole commit with it, over and over."""
    bench.bugs.huge = {"huge"}
    bench.say("one")
    bench.say(word, "ann")
    bench.say("two")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
        [parked] = bench.store.parked()
        assert (parked.key, parked.position, parked.waiting) == ("ann", 2, 2)
        assert why in parked.error
        assert words(bench.store, bench.view, NAMES) == {"ann": ("one",)} | dict.fromkeys(NAMES[1:], ("one", "two"))


@pytest.mark.parametrize("to", [("k" * 1_001,), ("nul\0",), ("!stream/x",)])
def test_an_event_whose_keys_cannot_be_named_parks_its_stream(bench: Bench, generation: Generation, to: tuple[str, ...]) -> None:
    """There is no key to park; later events of the stream wait for it in every slice whose keys they touch."""
    bench.say("one", stream="talk-1")
    bench.say("bad", *to, stream="talk-1")
    bench.say("two", "ann", "bob", stream="talk-1")
    bench.say("three", "ann", "bob", stream="talk-2")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 4), "all slices at the head")
        parked = bench.store.parked()
        assert {each.key for each in parked} == {"!stream/talk-1"}
        assert {each.slice for each in parked} == set(generation.slice_ids())
        assert words(bench.store, bench.view, ["ann", "cid"]) == {"ann": ("one", "three"), "cid": ("one",)}
        bench.store.discard("heard", "!stream/talk-1")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, ["ann", "bob", "cid"]) == {
            "ann": ("one", "three", "two"),
            "bob": ("one", "three", "two"),
            "cid": ("one",),
        }


def test_a_discard_asked_for_again_takes_no_event_along_that_only_waits(bench: Bench, generation: Generation) -> None:
    """The poison of the stream is gone; what is first now waits for a key that is parked for a reason of its own."""
    bench.bugs.words, bench.bugs.nameless = {"poison"}, {"bad"}
    for word in ("poison", "bad", "two"):
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
        bench.store.discard("heard", "!stream/talk-1")
        mine = slice_of("ann", SLICES)
        until(
            lambda: [(each.key, each.position) for each in _of(bench, mine)] == [("!stream/talk-1", 3), ("ann", 1)], "one is gone"
        )
        bench.store.discard("heard", "!stream/talk-1")
        until(lambda: any("parked itself" in each.error and not each.discard_requested for each in _of(bench, mine)), "refused")
        bench.bugs.words = set()
        bench.store.request_retry("heard", "ann")
        until(lambda: [each.key for each in _of(bench, mine)] == ["!stream/talk-1"], "the key is drained")
        bench.store.request_retry("heard", "!stream/talk-1")
        until(lambda: not bench.store.parked(), "all is drained")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("poison", "two")}


def _of(bench: Bench, slice_number: int) -> list[ParkedKey]:
    return sorted((each for each in bench.store.parked() if each.slice.slice == slice_number), key=lambda each: each.key)


def test_a_parked_stream_is_drained_in_order_after_the_fix(bench: Bench, generation: Generation) -> None:
    """A view keyed by the stream's own id sees its events in log order, bug or no bug."""
    bench.bugs.nameless = {"bad"}
    for word in ("one", "bad", "two", "three"):
        bench.say(word)
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec, 2), generation.slice_ids()):
        until(reached(bench.store, generation, 4), "all slices at the head")
        assert words(bench.store, bench.view, NAMES) == dict.fromkeys(NAMES, ("one",))
        bench.bugs.nameless = set()
        bench.store.request_retry("heard", "!stream/talk-1")
        until(lambda: not bench.store.parked(), "drained")
        assert words(bench.store, bench.view, NAMES) == dict.fromkeys(NAMES, ("one", "bad", "two", "three"))


def test_who_takes_a_slice_over_knows_what_is_parked_there(bench: Bench, generation: Generation) -> None:
    """Otherwise the next event of that key would overtake those in line."""
    bench.bugs.words = {"poison"}
    bench.say("poison", "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 1), "the poison event")
    bench.say("two", "ann")
    store = bench.where.open()
    store.make(bench.view, SLICES)
    with running(projector(bench.log, store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 2), "the next event")
        assert bench.store.parked()[0].waiting == 2
        assert words(bench.store, bench.view, ["ann"]) == {}


class Picky:
    """A store that refuses rows for a reason folding cannot foresee."""

    def __init__(self, store: ViewStore, is_refused: Any) -> None:
        self._store = store
        self._is_refused = is_refused
        self.refusals = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        self._look_at(row for advance in advances for row in advance.rows.values())
        return self._store.commit(advances)

    def drain(self, drain: Drain) -> bool:
        self._look_at(drain.rows.values())
        return self._store.drain(drain)

    def _look_at(self, rows: Iterable[Row | None]) -> None:
        if any(self._is_refused(row) for row in rows if row is not None):
            self.refusals += 1
            raise ValueError("not that one")


def test_what_only_the_store_refuses_is_found_and_parked_alone(bench: Bench, generation: Generation) -> None:
    """No check made beforehand is complete; a commit refused for ever would stop every view in it."""
    picky = Picky(bench.store, lambda row: row.key == "ann" and "bad" in row.value.words)
    for word in ("one", "two", "bad", "three"):
        bench.say(word)
    follower = projector(bench.log, cast(ViewStore, picky), (bench.view,), bench.codec)
    with capture_logs() as logs, running(follower, generation.slice_ids()):
        until(reached(bench.store, generation, 4), "all slices at the head")
        until(lambda: [parked.key for parked in bench.store.parked()] == ["ann"], "only the culprit is parked")
        [parked] = bench.store.parked()
        assert (parked.position, parked.waiting) == (3, 2)
        assert "not that one" in parked.error
        expected = {"ann": ("one", "two")} | dict.fromkeys(NAMES[1:], ("one", "two", "bad", "three"))
        until(lambda: words(bench.store, bench.view, NAMES) == expected, "all others are folded")
        assert picky.refusals < 30
    assert [log["keys"] for log in logs if log["event"] == "keys parked"] == [1], "nobody is told of what was tried"
    told = [log for log in logs if log["event"] == "the store refuses rows"]
    assert {log["error"] for log in told} == {"ValueError"} and {tuple(log["views"]) for log in told} == {("heard",)}
    assert told[-1]["keys"] == ["ann"], "found among all that were refused with it"


def test_a_line_somebody_else_drained_is_not_drained_again(bench: Bench, generation: Generation) -> None:
    """The checkpoint does not move when a line is drained: the line itself has to tell a stale projector."""
    bench.bugs.words = {"poison"}
    for word in ("one", "poison", "two"):
        bench.say(word, "ann")
    with running(projector(bench.log, bench.store, (bench.view,), bench.codec), generation.slice_ids()):
        until(reached(bench.store, generation, 3), "all slices at the head")
    stores = [bench.where.open() for _ in range(3)]
    for store in stores:
        store.make(bench.view, SLICES)
    several = [projector(bench.log, store, (bench.view,), bench.codec) for store in stores]
    mine = [generation.slice_ids()[slice_of("ann", SLICES)]]
    with running(several[0], mine), running(several[1], mine), running(several[2], mine):
        bench.bugs.words = set()
        bench.store.request_retry("heard", "ann")
        until(lambda: not bench.store.parked(), "drained")
        for word in ("three", "four"):
            bench.say(word, "ann")
        until(lambda: bench.store.positions("heard")[mine[0]] == 5, "the head")
        assert words(bench.store, bench.view, ["ann"]) == {"ann": ("one", "poison", "two", "three", "four")}


def test_a_commit_whose_end_is_unknown_is_looked_up(bench: Bench, generation: Generation) -> None:
    """A connection cut right after COMMIT was sent: folding the page again would double it."""
    cut = {"left": 3}

    class Cut(Picky):
        def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
            moved = self._store.commit(advances)
            if cut["left"]:
                cut["left"] -= 1
                raise Unavailable(Neighbour.ROWS)
            return moved

    for number in range(30):
        bench.say(f"w{number}")
    follower = projector(bench.log, cast(ViewStore, Cut(bench.store, None)), (bench.view,), bench.codec)
    with running(follower, generation.slice_ids()):
        until(reached(bench.store, generation, 30), "all slices at the head")
    assert cut["left"] == 0
    assert words(bench.store, bench.view, NAMES) == dict.fromkeys(NAMES, tuple(f"w{number}" for number in range(30)))
