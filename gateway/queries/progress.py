"""How far the views' slices are, as far as this gateway has heard.

    bus ── bell.listen (a thread) ── call_soon_threadsafe ──> hear_progress, hear_ring ──> waiters

Everything here is a hint: it decides when to ask the store, never what to answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import count

from twofold.kernel.ids import slice_of
from twofold.kernel.rows import Progress
from twofold.kernel.view import SliceId

PEAK_SPAN_SECONDS = 0.5
"""As long as the time between two looks of the console."""


WOKEN_AT_ONCE = 50
"""Of those whose wait is over. Each has some tenths of a millisecond of work to do then."""


class _Turns:
    """Whose wait is over, a few at each turn of the loop: thousands who are due together hold up nobody else."""

    def __init__(self) -> None:
        self._due: deque[asyncio.Future[None]] = deque()

    def wake(self, future: asyncio.Future[None]) -> None:
        if not self._due:
            future.get_loop().call_soon(self._wake_some)
        self._due.append(future)

    def _wake_some(self) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(self._due))):
            future = self._due.popleft()
            if not future.done():
                future.set_result(None)
        if self._due:
            self._due[0].get_loop().call_soon(self._wake_some)


class _Waiter:
    """`is_taken` when its position was reached, `is_gone` when it has given up: exactly one of them, once it is over."""

    __slots__ = ("future", "is_gone", "is_taken")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.is_taken = self.is_gone = False


class _Waiters:
    """Who waits for a position to be reached. Thousands may: whoever is not due costs nothing."""

    def __init__(self, turns: _Turns) -> None:
        self._turns = turns
        self._heap: list[tuple[int, int, _Waiter]] = []
        self._numbers = count()
        self._gone = 0

    def __len__(self) -> int:
        return len(self._heap) - self._gone

    async def wait(self, position: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future())
        heappush(self._heap, (position, next(self._numbers), waiter))
        timer = loop.call_later(max(0.0, seconds), self._turns.wake, waiter.future)
        try:
            await waiter.future
        finally:
            timer.cancel()
            if not waiter.is_taken:
                waiter.is_gone = True
                self._gone += 1
                if self._gone > len(self._heap) // 2:
                    self._heap = [one for one in self._heap if not one[2].is_gone]
                    heapify(self._heap)
                    self._gone = 0

    def wake(self, position: int) -> None:
        while self._heap and self._heap[0][0] <= position:
            self._take()

    def wake_all(self) -> None:
        while self._heap:
            self._take()

    def _take(self) -> None:
        waiter = heappop(self._heap)[2]
        if waiter.is_gone:
            self._gone -= 1
        else:
            waiter.is_taken = True
            self._turns.wake(waiter.future)


class ProgressBoard:
    """Lives on the event loop; nothing here may be called from another thread."""

    def __init__(self) -> None:
        self.head = 0
        self.closed_at = float("inf")
        """When, by the loop's clock, the gateway was told to stop: nobody is to wait for much longer."""
        self.peaks = LagPeaks()
        self._slices: dict[str, dict[int, int]] = {}
        self._counts: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        self._moves: dict[str, int] = {}
        self._turns = _Turns()
        self._waiters: dict[tuple[str, int | None], _Waiters] = {}
        """By view and slice; None for all slices of a view."""
        self._moved: dict[str, _Waiters] = {}
        self._grown = _Waiters(self._turns)

    def close(self) -> None:
        """The gateway is told to stop: whoever waits for rows has to look how long he still may."""
        self.closed_at = asyncio.get_running_loop().time()
        for waiters in self._waiters.values():
            waiters.wake_all()

    def hear_ring(self, position: int) -> None:
        if position > self.head:
            self.head = position
            self._note_peaks()
            self._grown.wake(position)

    def hear_progress(self, progress: Sequence[Progress]) -> None:
        for step in progress:
            if step.generation != self._generations.setdefault(step.view, step.generation):
                continue
            slices = self._slices.setdefault(step.view, {})
            slices[step.slice] = max(step.position, slices.get(step.slice, 0))
            self._moves[step.view] = self.moves(step.view) + 1
            self._wake(step.view, step.slice, slices[step.slice])

    def learn_positions(self, positions: Mapping[SliceId, int]) -> None:
        """Learn from the store which generation answers, into how many slices it is cut, and where they stand. Only progress of
        that one counts: others are folded for other versions, or are being built."""
        counts: dict[tuple[str, int], int] = {}
        for view, generation, _ in positions:
            counts[view, generation] = counts.get((view, generation), 0) + 1
        for view, generation in counts:
            if generation != self._generations.get(view):
                self._forget(view, generation)
        self.hear_progress([Progress(view, generation, number, at) for (view, generation, number), at in positions.items()])
        self._counts |= {view: count for (view, _), count in counts.items()}

    def slice_number(self, view: str, key: str) -> int | None:
        """The slice that holds this key; None while it is not known into how many the view is cut."""
        count = self._counts.get(view)
        return None if count is None else slice_of(key, count)

    def position(self, view: str, number: int | None) -> int | None:
        """Where this slice stands, or the slowest of the view when `number` is None. None when not heard of."""
        slices = self._slices.get(view, {})
        if number is not None:
            return slices.get(number)
        return min(slices.values()) if slices and len(slices) == self._counts.get(view) else None

    @property
    def waiter_count(self) -> int:
        """How many wait for rows to be somewhere."""
        return sum(map(len, self._waiters.values()))

    async def reached(self, view: str, number: int | None, position: int, seconds: float) -> None:
        """Return when this slice (None: the slowest of the view) is heard to have reached the position, or the time is up."""
        if (self.position(view, number) or 0) < position:
            await self._waiters.setdefault((view, number), _Waiters(self._turns)).wait(position, seconds)

    def moves(self, view: str) -> int:
        """How often any slice of the view was heard to move; to be given to `moved`."""
        return self._moves.get(view, 0)

    async def moved(self, view: str, since: int, seconds: float) -> None:
        """Return when the view is heard to have moved since `moves` said this, or the time is up."""
        if self.moves(view) == since:
            await self._moved.setdefault(view, _Waiters(self._turns)).wait(since + 1, seconds)

    async def grown(self, position: int, seconds: float) -> None:
        """Return when the log is heard to have grown beyond the position, or the time is up."""
        if self.head <= position:
            await self._grown.wait(position + 1, seconds)

    def _note_peaks(self) -> None:
        """When the head moves: a view is never further behind than just then."""
        now = asyncio.get_running_loop().time()
        for view in self._slices:
            at = self.position(view, None)
            if at is not None:
                self.peaks.note(view, max(0, self.head - at), now)

    def _forget(self, view: str, generation: int) -> None:
        """A rebuilt view starts a new count: what was heard of its last generation says nothing about this one, and whoever waits
        has to ask where his rows are now."""
        self._generations[view] = generation
        self._slices.pop(view, None)
        self._counts.pop(view, None)
        for waiters in [waiters for (name, _), waiters in self._waiters.items() if name == view]:
            waiters.wake_all()

    def _wake(self, view: str, number: int, position: int) -> None:
        if (of_slice := self._waiters.get((view, number))) is not None:
            of_slice.wake(position)
        if (of_view := self._waiters.get((view, None))) is not None:
            slowest = self.position(view, None)
            of_view.wake(position if slowest is None else slowest)
        if (of_moves := self._moved.get(view)) is not None:
            of_moves.wake(self.moves(view))


class LagPeaks:
    """The most each view was behind lately: one that catches up within milliseconds still shows that it moved. For drawing only.

    Peaks of the running span and of the one before, so that a look at any moment sees a whole span.
    """

    def __init__(self) -> None:
        self._span = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def note(self, view: str, lag_events: int, seconds: float) -> None:
        """`seconds` is the loop's time."""
        self._turn(seconds)
        self._now[view] = max(lag_events, self._now.get(view, 0))

    def peaks(self, seconds: float) -> Mapping[str, int]:
        """By view; those that were never behind may be missing."""
        self._turn(seconds)
        return {view: max(self._now.get(view, 0), self._before.get(view, 0)) for view in {*self._now, *self._before}}

    def _turn(self, seconds: float) -> None:
        span = int(seconds / PEAK_SPAN_SECONDS)
        if span != self._span:
            self._before = self._now if span == self._span + 1 else {}
            self._now, self._span = {}, span
