"""Parked keys: what every view store promises about them and the lines behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.contract.viewstores import (
    EVERYTHING,
    KINDS,
    Everything,
    Place,
    place,
    rows_url,  # noqa: F401
)
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Drain, ParkedLine, Query, Row
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.columns import stream_key

KEY = "k%\\é"


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


@pytest.fixture
def store(where: Place) -> ViewStore:
    return where.open()


@pytest.fixture
def slice_id(store: ViewStore) -> SliceId:
    return store.make(EVERYTHING, 2).slice_ids()[1]


@pytest.fixture
def parked(store: ViewStore, slice_id: SliceId) -> SliceId:
    """`KEY` is parked at 3, with 3, 7 and 12 in line; another key at 5."""
    first = Advance(slice_id, 0, 10, {}, waiting={KEY: [3, 7], "other": [5]}, errors={KEY: "boom", "other": "bang"})
    assert store.commit([first]) == {slice_id}
    assert store.commit([Advance(slice_id, 10, 20, {}, waiting={KEY: [12]}, lines={KEY: 3})]) == {slice_id}
    return slice_id


def test_a_parked_key_says_where_why_and_how_many_wait(store: ViewStore, parked: SliceId) -> None:
    """It is what an operator sees."""
    assert store.positions()[parked] == 20
    [one, other] = sorted(store.parked("everything"), key=lambda each: each.position)
    assert (one.slice, one.key, one.position, one.error, one.waiting, one.attempts) == (parked, KEY, 3, "boom", 3, 1)
    assert (other.key, other.position, other.waiting, other.retry_requested) == ("other", 5, 1, False)
    assert abs(one.parked_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert store.parked() == store.parked("everything")
    assert store.parked_counts() == {"everything": 2}


def test_the_line_is_in_log_order_and_read_in_pages(store: ViewStore, parked: SliceId) -> None:
    """Draining folds it in this order."""
    assert store.waiting(parked, KEY, 10) == [3, 7, 12]
    assert store.waiting(parked, KEY, 2) == [3, 7]
    assert store.waiting(parked, "nobody", 10) == []


def test_a_request_is_seen_by_whoever_holds_the_slice(where: Place, store: ViewStore, parked: SliceId) -> None:
    """The gateway asks, the projector does."""
    gateway = where.open()
    gateway.make(EVERYTHING, 2)
    assert gateway.request_retry("everything", KEY)
    assert not gateway.request_retry("everything", "nobody")
    assert [each.key for each in store.parked() if each.retry_requested] == [KEY]
    assert gateway.discard("everything", KEY)
    [asked] = [each for each in store.parked() if each.discard_requested]
    assert (asked.key, asked.retry_requested) == (KEY, False)


def test_a_drained_line_is_gone_with_its_rows_in_one_step(store: ViewStore, parked: SliceId) -> None:
    """Rows without the line's end would be folded twice; a line's end without rows would be lost."""
    row = Row(KEY, Everything(KEY, 3), 12)
    assert store.drain(Drain(parked, 20, KEY, 3, {KEY: row}, through=12, is_done=True))
    assert store.load("everything", [KEY]) == {KEY: row}
    assert [each.key for each in store.parked()] == ["other"]
    assert store.waiting(parked, KEY, 10) == []


def test_a_line_drained_in_part_begins_where_it_got_stuck(store: ViewStore, parked: SliceId) -> None:
    """What is in the rows already must not be folded again."""
    store.request_retry("everything", KEY)
    assert store.drain(Drain(parked, 20, KEY, 3, through=3, error="again"))
    [one] = [each for each in store.parked() if each.key == KEY]
    assert (one.position, one.waiting, one.error, one.attempts, one.retry_requested) == (7, 2, "again", 2, False)
    assert store.waiting(parked, KEY, 10) == [7, 12]


def test_a_discard_that_is_not_finished_goes_on_as_a_retry(store: ViewStore, parked: SliceId) -> None:
    """Otherwise the next page of the line would lose its first event too, which nobody asked for."""
    store.discard("everything", KEY)
    assert store.drain(Drain(parked, 20, KEY, 3, through=7))
    [one] = [each for each in store.parked() if each.key == KEY]
    assert (one.position, one.waiting, one.retry_requested, one.discard_requested) == (12, 1, True, False)


def test_a_retry_that_fails_at_once_is_an_attempt_more(store: ViewStore, parked: SliceId) -> None:
    """The line is as it was; who asked sees that it was tried."""
    store.request_retry("everything", KEY)
    assert store.drain(Drain(parked, 20, KEY, 3, error="still"))
    [one] = [each for each in store.parked() if each.key == KEY]
    assert (one.position, one.waiting, one.error, one.attempts, one.retry_requested) == (3, 3, "still", 2, False)


@pytest.mark.parametrize("change", [{"expected": 19}, {"first": 7}, {"key": "nobody"}])
def test_a_drain_that_saw_something_else_changes_nothing(store: ViewStore, parked: SliceId, change: dict[str, Any]) -> None:
    """A zombie that goes on draining would fold events twice."""
    row = Row(KEY, Everything(KEY, 3), 12)
    drain = Drain(parked, 20, KEY, 3, {KEY: row}, through=12, is_done=True)
    assert not store.drain(msgspec.structs.replace(drain, **change))
    assert store.load("everything", [KEY]) == {}
    assert store.waiting(parked, KEY, 10) == [3, 7, 12]
    [one] = [each for each in store.parked() if each.key == KEY]
    assert (one.position, one.waiting, one.attempts) == (3, 3, 1)


@pytest.mark.parametrize("lines", [{KEY: 7}, {"nobody": 3}, {KEY: 3, "other": 4}])
def test_who_saw_another_line_is_refused_whole(store: ViewStore, parked: SliceId, lines: dict[str, int]) -> None:
    """Draining leaves the checkpoint where it is, so the checkpoint alone cannot tell that somebody else has done it."""
    row = Row("a", Everything("a"), 21)
    assert store.commit([Advance(parked, 20, 21, {"a": row}, lines=lines)]) == set()
    assert store.positions()[parked] == 20
    assert store.load("everything", ["a"]) == {}
    fine = SliceId(parked.view, parked.generation, 0)
    assert store.commit([Advance(parked, 20, 21, {}, lines=lines), Advance(fine, 0, 21, {})]) == {fine}


def test_what_is_parked_comes_with_the_row_from_one_snapshot(store: ViewStore, slice_id: SliceId) -> None:
    """A checkpoint passes parked events; whoever is given the row must be told that it lacks them, at that moment."""
    one, two, well = [name for name in "abcdefghijkl" if slice_of(name, 2) == slice_id.slice][:3]
    assert not store.find("everything", Query()).has_parked
    waiting = Advance(slice_id, 0, 10, {}, waiting={one: [3, 7], two: [5]}, errors={one: "boom", two: "bang"})
    assert store.commit([waiting]) == {slice_id}
    found = store.get("everything", [one, two, well])
    assert [each.parked for each in found] == [3, 5, None]
    assert [each.position for each in found] == [10] * 3 and not any(each.has_parked_streams for each in found)
    page = store.find("everything", Query())
    assert page.has_parked and page.parked in (None, min(each.position for each in store.parked()))
    for key, first, through in ((one, 3, 7), (two, 5, 5)):
        assert store.drain(Drain(slice_id, 10, key, first, through=through, is_done=True))
    assert store.get("everything", [one])[0].parked is None
    assert not store.find("everything", Query()).has_parked


def test_that_a_stream_is_parked_comes_with_every_row_of_its_slice(store: ViewStore, slice_id: SliceId) -> None:
    """Nobody knows which of them its events touch."""
    line = stream_key("talk-1")
    assert store.commit([Advance(slice_id, 0, 10, {}, waiting={line: [4]}, errors={line: "no keys"})]) == {slice_id}
    mine = next(name for name in "abcdefgh" if slice_of(name, 2) == slice_id.slice)
    other = next(name for name in "abcdefgh" if slice_of(name, 2) != slice_id.slice)
    [here, elsewhere] = store.get("everything", [mine, other])
    assert (here.parked, here.has_parked_streams) == (None, True)
    assert (elsewhere.parked, elsewhere.has_parked_streams) == (None, False)
    assert store.waiting(slice_id, line, 1) == [4]


def test_a_stream_that_is_parked_in_every_slice_is_counted_once(store: ViewStore, slice_id: SliceId) -> None:
    """It is one event, one bug, one retry."""
    line, beside = stream_key("talk-1"), slice_id._replace(slice=0)
    for one in (slice_id, beside):
        assert store.commit([Advance(one, 0, 10, {}, waiting={line: [4]}, errors={line: "no keys"})]) == {one}
    assert store.commit([Advance(beside, 10, 20, {}, waiting={"k": [11]}, errors={"k": "boom"}, lines={line: 4})]) == {beside}
    assert store.parked_counts() == {"everything": 2}


def test_lines_are_told_without_why_and_those_alone_that_something_was_asked_for(store: ViewStore, parked: SliceId) -> None:
    """A projector looks for them all the time, and errors are long."""

    def lines(only_requested: bool = False) -> list[ParkedLine]:
        return sorted(store.parked_lines("everything", only_requested), key=lambda line: line.position)

    assert lines() == [ParkedLine(parked, KEY, 3), ParkedLine(parked, "other", 5)]
    assert lines(only_requested=True) == []
    assert store.request_retry("everything", KEY) and store.discard("everything", "other")
    assert (
        lines() == lines(only_requested=True) == [ParkedLine(parked, KEY, 3, "retry"), ParkedLine(parked, "other", 5, "discard")]
    )
    assert store.drain(Drain(parked, 20, KEY, 3, through=3, error="again"))
    assert lines() == [ParkedLine(parked, "other", 5, "discard"), ParkedLine(parked, KEY, 7)]
    assert lines(only_requested=True) == [ParkedLine(parked, "other", 5, "discard")]
    assert store.drain(Drain(parked, 20, "other", 5, through=5, is_done=True))
    assert (lines(), lines(only_requested=True)) == ([ParkedLine(parked, KEY, 7)], [])


def test_parked_keys_are_told_one_alone_or_the_first_of_them(store: ViewStore, parked: SliceId) -> None:
    assert [one.key for one in store.parked("everything", limit=1)] == [KEY]
    assert [one.key for one in store.parked(limit=5)] == [KEY, "other"]
    assert [(one.key, one.error) for one in store.parked("everything", "other")] == [("other", "bang")]
    assert store.parked("everything", "nobody") == []
