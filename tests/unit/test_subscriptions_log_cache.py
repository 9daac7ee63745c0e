"""Reading the log once for everybody: a cache that never skips, never repeats, and never grows beyond its bounds."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import twofold.subscriptions.log_cache
from tests.contract.projections import Bugs, Log, Noise, Said, domain
from twofold.kernel.log import Page
from twofold.kernel.ports import LogPages
from twofold.subscriptions.log_cache import LogCache

CODEC, _, _ = domain(Bugs())


def cache_of(log: Log) -> LogCache:
    return LogCache(cast(LogPages, log), CODEC, ["Said"])


def full_log(count: int) -> Log:
    log = Log()
    for number in range(count):
        log.append(Said(("ann",), f"w{number}"))
    return log


@example(asked=[(21, 1, 0), (20, 1, 0), (20, 1, 1)])
@given(asked=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 3)), max_size=30))
def test_whoever_asks_in_whatever_order_gets_the_next_events_without_a_gap(asked: list[tuple[int, int, int]]) -> None:
    """A skipped event is lost for ever: the checkpoint moves over it."""
    log = full_log(20)
    cache = cache_of(log)
    for after, limit, growth in asked:
        for _ in range(growth):
            log.append(Noise())
        found = [seen.position for seen in cache.after(after, limit)]
        wanted = list(range(after + 1, min(after + limit, len(log.events)) + 1))
        assert found == wanted[: len(found)]
        assert found or not wanted


def test_near_the_head_the_log_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slices ask for the same events, a little after one another."""
    log = full_log(50)
    cache = cache_of(log)
    for after in (0, 10, 20, 0, 30, 49):
        cache.after(after, 50)
    assert log.reads == 1


def test_memory_is_bounded_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order may have 2,000 lines."""
    monkeypatch.setattr(twofold.subscriptions.log_cache, "RECENT_EVENTS_MAX", 25)
    log = full_log(100)
    cache = cache_of(log)
    for after in range(0, 100, 10):
        assert len(cache.after(after, 10)) == 10
    assert not cache.is_near(74) and cache.is_near(75)
    monkeypatch.setattr(twofold.subscriptions.log_cache, "RECENT_BYTES_MAX", 1)
    log.append(Noise())
    cache.after(100, 10)
    assert not cache.is_near(99) and cache.is_near(100)


def test_a_page_far_behind_is_shared_by_those_rebuilt_together() -> None:
    """And it does not push the head out of the cache."""
    log = full_log(100)
    cache = cache_of(log)
    cache.after(90, 10)
    reads = log.reads
    for _ in range(4):
        assert len(cache.after(0, 10)) == 10
    assert log.reads == reads + 1
    assert cache.is_near(90)


def test_events_in_line_are_found_wherever_they_are() -> None:
    """A parked key's line is scattered over the log."""
    log = full_log(100)
    cache = cache_of(log)
    for positions in ([1], [1, 2, 3, 99, 100], [5, 50, 95], list(range(1, 101))):
        assert [seen.position for seen in cache.at(positions, 10)] == positions


def test_an_event_that_cannot_be_decoded_says_why_and_is_not_skipped() -> None:
    """Whether it matters is for each view to say."""
    log = full_log(1)
    log.events.append(type(log.events[0])(2, "talk-1", 2, "Said", b'{"to":7}', log.events[0].meta, log.events[0].recorded_at))
    log.append(Noise())
    first, second, third = cache_of(log).after(0, 10)
    assert (first.error, third.error, third.event) == (None, None, None)
    assert second.error is not None and second.event is None


class CutLog(Log):
    """Pages end after three events, as those of heavy events do."""

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        page = super().page(after, min(limit, 3), types)
        is_cut = len(page.events) == 3 < limit and page.through < len(self.events)
        return Page(page.events, page.through, is_cut)


def test_what_a_page_was_too_heavy_for_is_read_all_the_same() -> None:
    """A short page is not the end of the log, and an event in line is not gone because it was not in the first page."""
    log = CutLog()
    for _ in range(10):
        log.append(Noise())
    cache = cache_of(log)
    assert [seen.position for seen in cache.at([1, 5, 9], 20)] == [1, 5, 9]
    assert [seen.position for seen in cache.after(4, 5)] == [5, 6], "the event before them is read, too"
    assert (cache.goes_on(5), cache.goes_on(6)) == (True, True)
    assert [seen.position for seen in cache.after(0, 5)] == [1, 2, 3] and cache.goes_on(3)
    assert [seen.position for seen in cache.after(8, 5)] == [9, 10]
    assert not cache.goes_on(10)


def test_an_event_as_heavy_as_a_page_does_not_hide_what_is_behind_it() -> None:
    """It is read with them only to see that it is still there."""

    class OneByOne(Log):
        def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
            page = super().page(after, 1, types)
            return Page(page.events, page.through, limit > 1 and page.through < len(self.events))

    log = OneByOne()
    for _ in range(3):
        log.append(Noise())
    cache = cache_of(log)
    assert [[seen.position for seen in cache.after(at, 5)] for at in (0, 1, 2, 3)] == [[1], [2], [3], []]


def test_a_log_that_was_replaced_is_not_followed_from_memory() -> None:
    """Whoever stands at the end of what was read asks for what comes next: only if it comes behind the same event is it that."""
    log = full_log(10)
    cache = cache_of(log)
    last = cache.after(0, 20)[-1]
    assert cache.mark(10) == last.mark and cache.mark(0) == ""
    del log.events[3:]
    assert cache.after(10, 20) == [] and cache.mark(10) is None
    for _ in range(20):
        log.append(Noise(), stream="talk-2")
    assert [seen.position for seen in cache.after(10, 20)] == list(range(11, 24))
    assert cache.mark(10) not in (None, last.mark)
    assert [cache.mark(at) for at in (3, 12)] == [full_cache(log).mark(at) for at in (3, 12)]


def full_cache(log: Log) -> LogCache:
    cache = cache_of(log)
    cache.after(0, 100)
    return cache
