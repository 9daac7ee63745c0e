"""Following the log: page after page to whoever stands there, in turns.

    ring, tick ──> reader: take over, verify ──> whose turn is it? ──> a page ──> reader: step ──> again while somebody is behind
                       ^                                                             │
                       └──────────────── forget ── pause, longer each time ──────────┘ failed

A reader keeps checkpoints of its own, by key: a slice of a view, a process. Keys at the same checkpoint go through a page
together. In one round every group near the head has its turn, and of the groups far behind the last one, whose page ends where
the next group stands: so a rebuild never starves the head, and groups that catch up with each other go on as one.

After a failure a page has half as many events, down to one, which then goes to one key at a time: what was too heavy for a
time-out is not tried again as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from threading import Event
from typing import Generic, Protocol, TypeVar

import structlog

from twofold.kernel.backoff import Backoff
from twofold.kernel.errors import Detached, Unavailable
from twofold.kernel.portion import Portion
from twofold.subscriptions.log_cache import LogCache, Seen

TICK_SECONDS = 0.25
"""A lost ring costs at most this much, and so does what a reader is asked for beside it."""
PACE_SECONDS = 0.030
"""Rings that come closer together than this may share a round: the first after a pause is followed at once, then one rests as
long as the round took, until so much time has passed since it began. A round that is cheap delays nobody, and under load,
where it is dear because others want the processor, too, a crowd of rings is one step, and not a commit for every worker's
batch."""
VERIFY_SECONDS = 1.0
"""How often checkpoints are looked up although nothing happened: a store that was emptied does not say so."""
DETACHED_SECONDS = 30.0
"""Whoever stands before what is detached from the log waits so long before he asks again; nobody else does."""
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.1, 2.0

KeyT = TypeVar("KeyT", bound=Hashable)


class Reader(Protocol[KeyT]):
    """What follows the log. Called by the subscription's thread alone; any call may raise, Unavailable or a bug."""

    def is_idle(self) -> bool:
        """Whether it follows nothing at the moment. From any thread."""

    def take_over(self) -> None:
        """Let go of what is not ours any more, look up where what is new stands. Before every round."""

    def verify(self) -> None:
        """Look up whether everything still stands where it was left; forget what does not. Every VERIFY_SECONDS."""

    def checkpoints(self) -> Mapping[KeyT, int]:
        """The position behind which each key goes on, as far as is known."""

    def step(self, keys: Sequence[KeyT], page: Sequence[Seen]) -> None:
        """Take these keys, which stand where the page begins, to its end. The page has no gap and at least one event."""

    def rest(self) -> bool:
        """What is to be done beside reading, after every round. Whether more of it can be done at once."""

    def forget(self) -> None:
        """Something failed: nothing is known any more."""


class Subscription(Generic[KeyT]):
    """One thread runs it; `ring` and `wake` may be called from any other. `seconds` is a clock that never goes back, `wait` waits
    for an event that long and says whether it came."""

    def __init__(
        self,
        log: LogCache,
        reader: Reader[KeyT],
        page_events: int,
        seconds: Callable[[], float] = time.monotonic,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        self._log = log
        self._reader = reader
        self._portion = Portion(page_events)
        self._tried = 0
        self._seconds = seconds
        self._wait = wait
        self._backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        self._rung = Event()
        self._verified_at = 0.0
        self._detached_through, self._detached_at = 0, -DETACHED_SECONDS

    def ring(self, position: int) -> None:
        """The log has grown, which is nothing to a reader that follows nothing: of a projector's most do not."""
        if not self._reader.is_idle():
            self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._rung.set()

    def run(self, stop: Event) -> None:
        """Follow until told to stop. What fails is tried again, ever more slowly."""
        while not stop.is_set():
            self._rung.clear()
            began = self._seconds()
            try:
                is_behind = self.round()
            except Exception as error:
                self._portion.failed(self._tried)
                self._reader.forget()
                _log_failure(error, self._backoff.failed())
                self._wait(stop, self._backoff.seconds)
                continue
            if self._backoff.seconds:
                self._backoff.succeeded()
            if is_behind and self._portion.now < self._portion.most:
                self._portion.succeeded()
            ended = self._seconds()
            if not is_behind and self._wait(self._rung, TICK_SECONDS):
                rested = min(began + PACE_SECONDS, ended + (ended - began))
                self._wait(stop, max(0.0, rested - self._seconds()))

    def round(self) -> bool:
        """One page for every group whose turn it is. Whether there may be more to do at once."""
        self._tried = self._portion.now
        self._reader.take_over()
        if self._seconds() - self._verified_at > VERIFY_SECONDS:
            self._verified_at = self._seconds()
            self._reader.verify()
            self._reader.take_over()
        checkpoints = self._reader.checkpoints()
        is_behind, is_one_by_one = False, self._portion.now == 1 < self._portion.most
        for position, keys in self._turns(checkpoints):
            limit = min([self._portion.now, *(other - position for other in checkpoints.values() if other > position)])
            self._tried = limit
            try:
                page = self._log.after(position, limit)
            except Detached as error:
                self._detached_through, self._detached_at = error.through, self._seconds()
                _log_failure(error, DETACHED_SECONDS)
                continue
            self._tried = len(page)
            if page:
                for together in [[key] for key in keys] if is_one_by_one else [keys]:
                    self._reader.step(together, page)
            is_behind = is_behind or len(page) == limit or (bool(page) and self._log.goes_on(page[-1].position))
        return self._reader.rest() or is_behind

    def _turns(self, checkpoints: Mapping[KeyT, int]) -> list[tuple[int, list[KeyT]]]:
        """Groups of keys by checkpoint: those near the head, and the last of those far behind. Lowest first."""
        groups: dict[int, list[KeyT]] = {}
        is_known = self._seconds() - self._detached_at < DETACHED_SECONDS
        for key, position in checkpoints.items():
            if is_known and position <= self._detached_through:
                continue
            groups.setdefault(position, []).append(key)
        last = min(groups, default=0)
        return [(position, groups[position]) for position in sorted(groups) if position == last or self._log.is_near(position)]


def _log_failure(error: Exception, again_in_seconds: float) -> None:
    log = structlog.get_logger()
    if isinstance(error, Unavailable):
        log.warning("waiting for a neighbour", neighbour=str(error), again_in_seconds=again_in_seconds)
    else:
        log.error("following failed", exc_info=error, again_in_seconds=again_in_seconds)
