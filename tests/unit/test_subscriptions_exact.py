"""Following the log, to the letter: what is in memory and what is read for it, who has a turn, and what a failure changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Event
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

import twofold.subscriptions.log_cache
from tests.contract.projections import BEGIN, Bugs, Log, Noise, domain
from tests.unit.test_subscriptions import PAGE, Collector, Time, follow, log_of
from twofold.kernel.errors import Detached, Neighbour, Unavailable
from twofold.kernel.ids import mark_of
from twofold.kernel.log import Page
from twofold.kernel.ports import LogPages
from twofold.subscriptions.log_cache import LogCache
from twofold.subscriptions.subscription import (
    DETACHED_SECONDS,
    RETRY_SECONDS_MIN,
    TICK_SECONDS,
    VERIFY_SECONDS,
    Subscription,
)

CODEC, _, _ = domain(Bugs())


class Told(Log):
    """Says what was read: behind which position, and how much."""

    def __init__(self, count: int = 0) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []
        for _ in range(count):
            self.append(Noise())

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        self.asked.append((after, limit))
        return super().page(after, limit, types)

    def mark(self, position: int) -> str:
        event = self.events[position - 1]
        return mark_of(position, event.stream, event.version, event.meta.command_id, event.recorded_at)


def cache_of(log: Log) -> LogCache:
    return LogCache(cast(LogPages, log), CODEC, [])


def stopping(stop: Event, at_seconds: float | None = None) -> Callable[[float], bool]:
    """Ends the run at the first wait, or at the first that is so long."""

    def meanwhile(seconds: float) -> bool:
        if at_seconds in (None, seconds):
            stop.set()
        return False

    return meanwhile


def positions(seen: list[Any]) -> list[int]:
    return [one.position for one in seen]


def test_an_event_is_seen_as_it_was_recorded() -> None:
    log = Told(2)
    [first, second] = cache_of(log).after(0, 5)
    assert (first.recorded_at, first.stream, first.type, first.mark) == (
        log.events[0].recorded_at,
        "talk-1",
        "Noise",
        log.mark(1),
    )
    assert second.recorded_at > BEGIN and second.size == len(log.events[1].data)


def test_an_unread_log_goes_on_for_nobody() -> None:
    cache = cache_of(Told(3))
    assert (cache.goes_on(0), cache.goes_on(1), cache.is_near(0)) == (False, False, True)


def test_marks_of_what_is_in_memory_are_read_by_nobody() -> None:
    """Every round asks for the mark of each checkpoint."""
    log = Told(30)
    cache = cache_of(log)
    cache.after(10, 5)
    assert log.asked == [(9, 6)]
    assert [cache.mark(at) for at in (0, 10, 11, 14, 15)] == ["", *(log.mark(at) for at in (10, 11, 14, 15))]
    assert log.asked == [(9, 6)]
    assert cache.mark(-1) == ""
    assert [cache.mark(9), cache.mark(16)] == [log.mark(9), log.mark(16)]
    assert log.asked[1:] == [(8, 2), (15, 2)]
    assert cache.mark(31) is None


def test_what_is_in_memory_is_what_was_read_last_without_a_gap() -> None:
    log = Told(30)
    cache = cache_of(log)
    cache.after(10, 5)
    assert (positions(cache.after(10, 3)), positions(cache.after(14, 3))) == ([11, 12, 13], [15])
    assert len(log.asked) == 1
    assert positions(cache.after(15, 4)) == [16, 17, 18, 19] and log.asked[-1] == (14, 5)
    assert positions(cache.after(10, 20)) == list(range(11, 20)) and len(log.asked) == 2
    assert (cache.goes_on(18), cache.goes_on(19)) == (True, False)
    assert positions(cache.after(25, 9)) == list(range(26, 31)), "beyond the end is a gap, and memory begins anew"
    assert (cache.is_near(24), cache.is_near(25)) == (False, True)


def test_memory_holds_so_many_events_and_bytes_and_not_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what stands before the first of them keeps its mark."""
    log = Told(40)
    size = len(log.events[0].data)
    monkeypatch.setattr(twofold.subscriptions.log_cache, "RECENT_BYTES_MAX", 6 * size)
    cache = cache_of(log)
    for after, begin in ((0, 0), (3, 0), (6, 3), (9, 6), (12, 9)):
        assert len(cache.after(after, 3)) == 3
        assert (cache.is_near(begin), cache.is_near(begin - 1)) == (True, False)
    reads = len(log.asked)
    assert [cache.mark(at) for at in (9, 10, 15)] == [log.mark(at) for at in (9, 10, 15)] and len(log.asked) == reads
    monkeypatch.setattr(twofold.subscriptions.log_cache, "RECENT_BYTES_MAX", 1_000 * size)
    monkeypatch.setattr(twofold.subscriptions.log_cache, "RECENT_EVENTS_MAX", 6)
    for after, begin in ((15, 12), (18, 15)):
        cache.after(after, 3)
        assert (cache.is_near(begin), cache.is_near(begin - 1)) == (True, False)
    cache.after(21, 9)
    assert cache.is_near(21) and not cache.is_near(20), "the page that was read is kept whole"


def test_the_last_two_pages_far_behind_are_kept() -> None:
    """Those who are rebuilt together ask one after another; a page that is not full may grow."""
    log = Told(60)
    cache = cache_of(log)
    cache.after(50, 10)
    log.asked.clear()
    for after in (0, 10, 0, 10):
        assert positions(cache.after(after, 10)) == list(range(after + 1, after + 11))
    assert log.asked == [(0, 10), (9, 11)]
    assert cache.mark(10) == log.mark(10) and len(log.asked) == 2, "its page knows it"
    cache.after(20, 10)
    cache.after(10, 10)
    assert len(log.asked) == 3
    cache.after(0, 10)
    assert len(log.asked) == 4, "the oldest one has gone"
    cache.after(45, 30)
    cache.after(45, 30)
    assert len(log.asked) == 6, "it ended at the head, and is read again"


def test_another_log_leaves_no_page_of_the_one_before() -> None:
    log = Told(40)
    cache = cache_of(log)
    cache.after(30, 10)
    cache.after(0, 5)
    del log.events[:]
    for _ in range(50):
        log.append(Noise(), stream="talk-2")
    assert positions(cache.after(40, 5)) == [41, 42, 43, 44, 45]
    assert {seen.stream for seen in cache.after(0, 5)} == {"talk-2"}


def test_events_in_line_are_read_in_ranges_as_far_as_they_reach() -> None:
    log = Told(100)
    cache = cache_of(log)
    assert positions(cache.at([21, 1, 10, 11, 20], 10)) == [1, 10, 11, 20, 21]
    assert log.asked == [(0, 10), (10, 10), (20, 1)]
    log.asked.clear()
    assert positions(cache.at([50, 52], 10)) == [50, 52] and log.asked == [(49, 3)]
    assert cache.at([], 10) == []


def test_what_lies_behind_a_cut_page_is_read_on() -> None:
    class Cut(Told):
        def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
            page = super().page(after, min(limit, 4), types)
            return Page(page.events, page.through, limit > 4)

    log = Cut(20)
    cache = cache_of(log)
    assert positions(cache.at([1, 4, 5, 9], 20)) == [1, 4, 5, 9]
    assert log.asked == [(0, 4), (4, 4), (8, 1)]
    cache.after(12, 8)
    log.asked.clear()
    cache.after(0, 8), cache.after(0, 8)
    assert log.asked == [(0, 4)], "a page that bytes have ended is kept, too"


def test_a_ring_during_a_round_is_not_lost_and_one_before_it_is_done_with() -> None:
    stop, reader = Event(), Collector(a=0)
    time = Time(stopping(stop))
    following = follow(log_of(1), reader, time)
    following.wake()
    following.run(stop)
    assert time.waits == [TICK_SECONDS], "what rang before is seen by this round"
    assert reader.seen == {"a": [1]}


def test_after_a_success_a_failure_waits_as_long_as_the_first() -> None:
    stop, reader = Event(), Collector(a=0)
    log = log_of(1)

    def meanwhile(seconds: float) -> bool:
        if seconds == TICK_SECONDS:
            if len(log.events) == 3:
                stop.set()
            log.append(Noise())
            reader.fails = Unavailable(Neighbour.ROWS)
        else:
            reader.fails = None
        return False

    time = Time(meanwhile)
    follow(log, reader, time).run(stop)
    assert time.waits == [TICK_SECONDS, RETRY_SECONDS_MIN, TICK_SECONDS, RETRY_SECONDS_MIN, TICK_SECONDS]


def test_every_round_takes_over_and_verifies_when_it_is_time() -> None:
    time, reader = Time(), Collector(a=0)
    time.now = VERIFY_SECONDS
    following = follow(log_of(0), reader, time)
    following.round()
    assert reader.said == ["take over"], "not yet"
    time.now += 0.001
    following.round()
    assert reader.said == ["take over", "take over", "verify", "take over"]
    time.now += VERIFY_SECONDS
    following.round()
    assert reader.said[4:] == ["take over"]


def test_a_page_of_one_event_goes_to_one_key_at_a_time_only_after_a_failure() -> None:
    log, reader, time = log_of(1), Collector(a=0, b=0), Time()
    Subscription(cache_of(log), reader, 1, time.seconds, time.wait).round()
    assert reader.steps == [(("a", "b"), 1, 1)]


def sizes(reader: Collector) -> list[int]:
    return [last - first + 1 for _, first, last in reader.steps]


def test_what_failed_is_as_much_as_was_tried() -> None:
    """Half of that is tried next, not half of what might have been."""
    stop, reader, log = Event(), Collector(a=0), log_of(4)
    reader.fails = Unavailable(Neighbour.ROWS)

    def meanwhile(seconds: float) -> bool:
        reader.fails = None
        if seconds == TICK_SECONDS:
            stop.set()
        return False

    follow(log, reader, Time(meanwhile)).run(stop)
    assert sizes(reader)[0] == 2, "four were tried"
    stop.clear()
    reader, log = Collector(a=0), log_of(30)
    log.away = Unavailable(Neighbour.LOG)

    def back(seconds: float) -> bool:
        log.away = None
        if seconds == TICK_SECONDS:
            stop.set()
        return False

    follow(log, reader, Time(back)).run(stop)
    assert sizes(reader)[0] == PAGE // 2, "the log may have been asked for too much"


def test_looking_up_checkpoints_fails_with_the_whole_page() -> None:
    stop, reader = Event(), Collector(a=0)
    take_over, failing = reader.take_over, [True]

    def failing_once() -> None:
        if failing.pop() if failing else False:
            raise Unavailable(Neighbour.ROWS)
        take_over()

    reader.take_over = failing_once  # type: ignore[method-assign]
    follow(log_of(30), reader, Time(stopping(stop, TICK_SECONDS))).run(stop)
    assert sizes(reader)[0] == PAGE // 2


def test_what_is_detached_is_told_when_it_is_met_and_asked_for_after_a_while() -> None:
    log, time, reader = Told(40), Time(), Collector(anew=0)
    log.away = Detached(20)
    following = follow(log, reader, time)
    with capture_logs() as lines:
        following.round()
    assert [(line["log_level"], line["again_in_seconds"]) for line in lines] == [("warning", DETACHED_SECONDS)]
    log.asked.clear()
    log.away = None
    time.now += DETACHED_SECONDS - 0.001
    following.round()
    assert log.asked == []
    time.now += 0.001
    following.round()
    assert log.asked != []


def test_a_bug_is_told_as_one_and_a_neighbour_as_one() -> None:
    for error, level in ((Unavailable(Neighbour.ROWS, "away"), "warning"), (ValueError("bug"), "error")):
        stop, reader = Event(), Collector(a=0)
        reader.fails = error
        with capture_logs() as lines:
            follow(log_of(1), reader, Time(stopping(stop))).run(stop)
        assert [(line["log_level"], line["again_in_seconds"]) for line in lines] == [(level, RETRY_SECONDS_MIN)]
