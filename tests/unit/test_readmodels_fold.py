"""Folding a page, without any store: what is touched, what is parked, what flows on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.contract.projections import Bugs, Heard, Said, domain
from twofold.kernel.ids import slice_of
from twofold.kernel.messages import Event
from twofold.kernel.rows import Row
from twofold.kernel.view import About
from twofold.readmodels.projection.fold import Touch, fold, touched
from twofold.readmodels.schema.columns import Columns
from twofold.subscriptions.log_cache import Seen

BUGS = Bugs()
CODEC, VIEW, _ = domain(BUGS)
ENCODE = Columns(VIEW).encode
AT = datetime(2020, 1, 1, tzinfo=UTC)


def seen(position: int, event: Event, stream: str = "talk-1", error: Exception | None = None) -> Seen:
    about = About(position, stream, position, AT)
    return Seen(position, type(event).__name__, about, None if error else event, error, 10)


def touch(position: int, word: str) -> Touch:
    return Touch(seen(position, Said(("ann",), word)), 0)


def folded(*words: str, row: Row | None = None, is_checked: bool = True) -> Any:
    return fold(VIEW, "ann", row, [touch(number, word) for number, word in enumerate(words, start=5)], ENCODE, is_checked)


def test_a_line_is_folded_in_order() -> None:
    """And the row's position is that of the last event in it."""
    assert folded("a", "b").row == Row("ann", Heard("ann", ("a", "b"), 2), 6)
    again = folded("c", row=Row("ann", Heard("ann", ("a",), 1), 3))
    assert again.row == Row("ann", Heard("ann", ("a", "c"), 2), 5)
    assert folded("a", "").row is None and folded("a", "").failed is None
    assert folded("a", "", "b").row == Row("ann", Heard("ann", ("b",), 1), 7)


def test_folding_stops_before_the_event_that_fails() -> None:
    """The row is left as it was before it."""
    BUGS.words = {"bad"}
    result = folded("a", "bad", "b")
    BUGS.words = set()
    assert (result.row, result.failed) == (Row("ann", Heard("ann", ("a",), 1), 5), 1)
    assert "cannot fold bad" in result.error


def test_the_first_row_that_cannot_be_stored_is_found_among_many() -> None:
    """Only the last row of a page is looked at; where it went wrong is found by folding once more."""
    BUGS.huge = {"huge"}
    result = folded("a", "huge", "b")
    unchecked = folded("a", "huge", "b", is_checked=False)
    BUGS.huge = set()
    assert (result.row, result.failed) == (Row("ann", Heard("ann", ("a",), 1), 5), 1)
    assert "64 bits" in result.error
    assert unchecked.failed is None


EVENTS = st.lists(st.tuples(st.lists(st.sampled_from("abcdefgh"), unique=True), st.booleans()), max_size=20)


@given(events=EVENTS, slices=st.integers(1, 5))
def test_every_touch_is_in_exactly_one_slice_in_log_order(events: list[tuple[list[str], bool]], slices: int) -> None:
    """A touch in two slices is counted twice, one in none is lost."""
    page = [seen(position, Said(tuple(to), "w")) for position, (to, _) in enumerate(events, start=1)]
    found, _ = touched(VIEW, page, slices, {slice: frozenset() for slice in range(slices)})
    for slice, touches in found.items():
        assert {slice_of(key, slices) for key in touches} <= {slice}
        for line in touches.values():
            positions = [each.seen.position for each in line]
            assert positions == sorted(set(positions))
    pairs = [(key, each.seen.position) for touches in found.values() for key, line in touches.items() for each in line]
    assert sorted(pairs) == sorted((key, position) for position, (to, _) in enumerate(events, start=1) for key in to)


def test_an_event_that_names_no_keys_blocks_its_stream_in_every_slice() -> None:
    """Where its rows would have been, nobody knows; later events of the stream must not overtake it."""
    page = [
        seen(1, Said(("a",), "w")),
        seen(2, Said(("a",), "w"), error=ValueError("broken data")),
        seen(3, Said(("a", "b", "c"), "w")),
        seen(4, Said(("a",), "w"), stream="talk-2"),
    ]
    found, _ = touched(VIEW, page, 2, {0: frozenset(), 1: frozenset()})
    home = slice_of("a", 2)
    assert [each.seen.position for each in found[home]["a"]] == [1, 4]
    assert [each.seen.position for each in found[home]["!stream/talk-1"]] == [2, 3]
    assert [each.seen.position for each in found[1 - home]["!stream/talk-1"]] == [2, 3] if slice_of("b", 2) != home else [2]


def test_a_stream_parked_earlier_still_blocks() -> None:
    """The line outlives the page, and the process."""
    page = [seen(9, Said(("a", "b"), "w"))]
    found, _ = touched(VIEW, page, 1, {0: frozenset({"!stream/talk-1"})})
    assert {key: [each.seen.position for each in line] for key, line in found[0].items()} == {"!stream/talk-1": [9]}


def test_what_the_view_does_not_listen_to_touches_nothing() -> None:
    """Its data may not even be readable to this domain."""
    other = Seen(1, "Unknown", About(1, "talk-1", 1, AT), None, None, 10)
    assert touched(VIEW, [other], 1, {0: frozenset()}) == ({0: {}}, 1)
