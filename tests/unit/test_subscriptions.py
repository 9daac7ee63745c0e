"""Following the log, whatever it is that follows: turns, pacing, back-off and taking over, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, cast

import pytest

from tests.contract.projections import Bugs, Log, Noise, domain
from twofold.kernel.errors import Detached, Neighbour, Unavailable
from twofold.kernel.log import Page
from twofold.kernel.ports import LogPages
from twofold.subscriptions import subscription
from twofold.subscriptions.log_cache import LogCache, Seen
from twofold.subscriptions.subscription import (
    DETACHED_SECONDS,
    RETRY_SECONDS_MAX,
    RETRY_SECONDS_MIN,
    TICK_SECONDS,
    Subscription,
)

CODEC, _, _ = domain(Bugs())
PAGE = 10


class Collector:
    """A reader that is no view: it only collects what it sees, by name."""

    def __init__(self, **positions: int) -> None:
        self.at = positions
        self.seen: dict[str, list[int]] = {name: [] for name in positions}
        self.steps: list[tuple[tuple[str, ...], int, int]] = []
        self.said: list[str] = []
        self.fails: Exception | None = None
        self.work_left = 0

    def is_idle(self) -> bool:
        return not self.at

    def take_over(self) -> None:
        self.said.append("take over")

    def verify(self) -> None:
        self.said.append("verify")

    def checkpoints(self) -> dict[str, int]:
        return dict(self.at)

    def step(self, keys: Sequence[str], page: Sequence[Seen]) -> None:
        if self.fails is not None:
            raise self.fails
        self.steps.append((tuple(sorted(keys)), page[0].position, page[-1].position))
        for key in keys:
            assert page[0].position == self.at[key] + 1, "a page begins behind the checkpoint"
            self.seen[key] += [seen.position for seen in page]
            self.at[key] = page[-1].position

    def rest(self) -> bool:
        self.work_left -= 1
        return self.work_left > 0

    def forget(self) -> None:
        self.said.append("forget")


class Time:
    """A clock that only waiting moves; `waits` are the seconds asked for. What `meanwhile` returns is whether the event came."""

    def __init__(self, meanwhile: Callable[[float], bool] = lambda seconds: False) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self._meanwhile = meanwhile

    def seconds(self) -> float:
        return self.now

    def wait(self, event: Event, seconds: float) -> bool:
        self.waits.append(round(seconds, 6))
        self.now += seconds
        return self._meanwhile(seconds) or event.is_set()


def log_of(count: int) -> Log:
    log = Log()
    for _ in range(count):
        log.append(Noise())
    return log


def follow(log: Log, reader: Collector, time: Time | None = None) -> Subscription[str]:
    time = time or Time()
    return Subscription(LogCache(cast(LogPages, log), CODEC, []), reader, PAGE, time.seconds, time.wait)


def test_everybody_sees_every_event_once_and_in_order() -> None:
    reader = Collector(a=0, b=17, c=35)
    following = follow(log_of(40), reader)
    while following.round():
        pass
    assert reader.seen == {"a": list(range(1, 41)), "b": list(range(18, 41)), "c": list(range(36, 41))}


def test_who_stands_at_the_same_checkpoint_goes_through_a_page_together() -> None:
    """With eight views of four slices, every page would be read and folded 32 times."""
    reader = Collector(a=3, b=3, c=3)
    follow(log_of(8), reader).round()
    assert reader.steps == [(("a", "b", "c"), 4, 8)]


class Weak(Collector):
    """Takes no more than so many events, for so many keys, at once."""

    def __init__(self, events_max: int, keys_max: int, **positions: int) -> None:
        super().__init__(**positions)
        self._events_max, self._keys_max = events_max, keys_max
        self.refused: list[int] = []

    def step(self, keys: Sequence[str], page: Sequence[Seen]) -> None:
        if len(page) > self._events_max or len(keys) > self._keys_max:
            self.refused.append(len(page))
            raise Unavailable(Neighbour.ROWS, "statement timed out")
        super().step(keys, page)


@pytest.mark.parametrize(("events_max", "keys_max"), [(3, 2), (1, 2), (1, 1)])
def test_a_page_that_was_too_heavy_is_halved_and_not_tried_again_as_it_was(events_max: int, keys_max: int) -> None:
    """Repeated, it would stand still for ever, and take a time-out each time."""
    reader = Weak(events_max, keys_max, a=0, b=0)
    stop = Event()

    def meanwhile(seconds: float) -> bool:
        if reader.at == {"a": 40, "b": 40} or len(reader.refused) > 20:
            stop.set()
        return False

    follow(log_of(40), reader, Time(meanwhile)).run(stop)
    assert reader.seen == {name: list(range(1, 41)) for name in ("a", "b")}
    assert reader.refused[:2] == [10, 5] and len(set(reader.refused)) == len(reader.refused)


def test_pages_grow_again_after_an_outage() -> None:
    """What failed even with one event failed for another reason; a small page for ever would be a slow one for ever."""
    reader = Collector(a=0)
    reader.fails = Unavailable(Neighbour.ROWS)
    stop = Event()
    failures = 0

    def meanwhile(seconds: float) -> bool:
        nonlocal failures
        failures += 1
        if failures == 8:
            reader.fails = None
        if reader.at == {"a": 400}:
            stop.set()
        return False

    follow(log_of(400), reader, Time(meanwhile)).run(stop)
    sizes = [last - first + 1 for _, first, last in reader.steps]
    assert sizes[:3] == [1, 2, 4] and sizes.count(10) > 20


def test_who_is_far_behind_never_starves_the_head_and_joins_those_it_meets() -> None:
    """A rebuild takes an hour; the head must not wait for it."""
    log = log_of(5_000)
    cache = LogCache(cast(LogPages, log), CODEC, [])
    cache.after(4_990, PAGE)
    reader = Collector(rebuilt=0, also=25, head=4_990, near=4_995)
    time = Time()
    following = Subscription(cache, reader, PAGE, time.seconds, time.wait)
    following.round()
    assert reader.steps == [(("rebuilt",), 1, 10), (("head",), 4_991, 4_995), (("near",), 4_996, 5_000)]
    reader.steps.clear()
    for _ in range(3):
        following.round()
    behind = [step for step in reader.steps if step[1] < 4_000]
    assert behind == [(("rebuilt",), 11, 20), (("rebuilt",), 21, 25), (("also", "rebuilt"), 26, 35)]


def test_who_needs_what_is_detached_waits_for_it_and_nobody_else_does() -> None:
    """A view made anew from the first event must not stop those that are shown."""
    log, time = log_of(40), Time()
    whole = log.page

    def page(after: int, limit: int, types: Any = None) -> Page:
        if after < 20:
            raise Detached(20)
        return whole(after, limit, types)

    log.page = page  # type: ignore[method-assign]
    reader = Collector(made_anew=0, at_the_edge=20, behind=25, shown=38)
    following = follow(log, reader, time)
    while following.round():
        pass
    assert reader.at == {"made_anew": 0, "at_the_edge": 20, "behind": 40, "shown": 40}
    log.page = whole  # type: ignore[method-assign]
    assert not following.round(), "nobody asks again at once"
    time.now += DETACHED_SECONDS
    while following.round():
        pass
    assert set(reader.at.values()) == {40}


def test_a_full_page_and_work_that_goes_on_are_followed_at_once_and_the_head_is_waited_at() -> None:
    stop = Event()

    def meanwhile(seconds: float) -> bool:
        stop.set()
        return False

    time, reader = Time(meanwhile), Collector(a=0)
    reader.work_left = 4
    follow(log_of(25), reader, time).run(stop)
    assert reader.seen["a"] == list(range(1, 26))
    assert time.waits == [TICK_SECONDS], "three pages and the rest of the work without a pause, then the tick"


@pytest.mark.parametrize(("took", "rest"), [(0.002, 0.002), (0.012, 0.012), (0.024, 0.006), (0.04, 0.0)])
def test_a_crowd_of_rings_shares_a_round(took: float, rest: float) -> None:
    """A step costs a commit, whatever it carries; a cheap one keeps nobody waiting for long."""
    stop = Event()
    log, reader = log_of(1), Collector(a=0)
    step = reader.step

    def slow_step(keys: Sequence[str], page: Sequence[Seen]) -> None:
        time.now += took
        step(keys, page)

    reader.step = slow_step  # type: ignore[method-assign]

    def meanwhile(seconds: float) -> bool:
        """Rung at once, three times; a crowd of events comes while the pace is kept."""
        if seconds == TICK_SECONDS:
            time.now -= seconds
            if len(log.events) > 27:
                stop.set()
            return len(log.events) <= 27
        for _ in range(9):
            log.append(Noise())
        return False

    time = Time(meanwhile)
    follow(log, reader, time).run(stop)
    assert time.waits == [TICK_SECONDS, rest] * 3 + [TICK_SECONDS]
    assert [last - first + 1 for _, first, last in reader.steps] == [1, 9, 9, 9]


@pytest.mark.parametrize("error", [Unavailable(Neighbour.ROWS), ValueError("a bug")])
def test_what_fails_is_forgotten_and_tried_again_ever_more_slowly(error: Exception) -> None:
    stop = Event()
    reader = Collector(a=0)
    reader.fails = error
    time = Time()

    def meanwhile(seconds: float) -> bool:
        if len(time.waits) == 8:
            reader.fails = None
        if seconds == TICK_SECONDS:
            stop.set()
        return False

    time._meanwhile = meanwhile
    follow(log_of(3), reader, time).run(stop)
    pauses = time.waits[:8]
    assert pauses[0] == RETRY_SECONDS_MIN and pauses[-1] == RETRY_SECONDS_MAX
    assert all(later in (min(2 * earlier, RETRY_SECONDS_MAX),) for earlier, later in zip(pauses, pauses[1:], strict=False))
    assert reader.said.count("forget") == 8 and reader.seen["a"] == [1, 2, 3]


def test_where_everybody_stands_is_looked_up_now_and_then_although_nothing_happens() -> None:
    """A store that was emptied does not say so."""
    time, reader = Time(), Collector(a=0)
    following = follow(log_of(0), reader, time)
    for _ in range(3):
        following.round()
    assert reader.said.count("verify") == 1
    time.now += subscription.VERIFY_SECONDS + 0.1
    following.round()
    assert reader.said.count("verify") == 2
    assert reader.said[-1] == "take over", "what verifying threw away is looked up in the same round"


def test_a_log_that_is_away_stops_nobody_for_good() -> None:
    stop, log, reader = Event(), log_of(2), Collector(a=0)
    log.away = Unavailable(Neighbour.LOG)
    time: Any = Time()

    def meanwhile(seconds: float) -> bool:
        if log.away is None:
            stop.set()
        log.away = None
        return False

    time._meanwhile = meanwhile
    follow(log, reader, time).run(stop)
    assert reader.seen["a"] == [1, 2]


def test_a_ring_wakes_who_follows_something() -> None:
    """A process has a subscription for each store, and as many for what is built beside it; most of them hold nothing."""
    idle, busy = follow(log_of(1), Collector()), follow(log_of(1), Collector(a=0))
    for one in (idle, busy):
        one.ring(1)
    assert (idle._rung.is_set(), busy._rung.is_set()) == (False, True)
    idle.wake()
    assert idle._rung.is_set()
