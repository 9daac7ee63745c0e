"""What waits on the lanes of one process, and what may be executed next. Used by the consumer's thread alone, no I/O.

A lane, from its batches' point of view:

    add ──> waiting ── next ──> in flight ── committed ──> settled
              ^                     │
              └── after a pause ────┘ failed: the same batches again, in front, alone, for ever

A lane has at most one delivery in flight, so it is first in, first out whatever happens to a delivery. Lanes that are
well share a delivery; one that failed is offered alone, so that it can hold up nobody but itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from twofold.bus.dispatch.delivery import Batch, Delivery
from twofold.kernel.backoff import Backoff

DELIVERY_COMMANDS_MAX = 1_000
DELIVERY_BYTES_MAX = 4 * 1024 * 1024
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0


@dataclass(slots=True)
class _Lane:
    session: object | None = None
    waiting: deque[tuple[int, Batch]] = field(default_factory=deque)
    is_in_flight: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX))
    due_at: float = 0.0
    again: int = 0
    """How many batches the failed delivery had: they are offered again, no more and no fewer."""

    @property
    def has_failed(self) -> bool:
        return self.backoff.seconds > 0


class Lanes:
    """A lane is open while its transport consumes it: `session` is any object that stands for this stay."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[int, _Lane] = {}
        self._arrived = 0

    def open(self, lane: int, session: object) -> None:
        self._lanes.setdefault(lane, _Lane()).session = session

    def close(self, lane: int) -> None:
        """Forget what waits: whoever consumes the lane next is given it. What is in flight stays so until it is finished."""
        state = self._lanes[lane]
        state.session = None
        state.waiting.clear()
        state.again = 0
        if not state.is_in_flight:
            del self._lanes[lane]

    def is_in_flight(self, lane: int) -> bool:
        return lane in self._lanes and self._lanes[lane].is_in_flight

    def waiting_count(self, lane: int) -> int:
        """Batches that have not been handed out."""
        return len(self._lanes[lane].waiting) if lane in self._lanes else 0

    def add(self, batch: Batch) -> None:
        """The lane's next batch. One that comes from an earlier session is dropped: it comes again."""
        state = self._lanes.get(batch.lane)
        if state is not None and state.session is batch.session:
            self._arrived += 1
            state.waiting.append((self._arrived, batch))

    def next(self, held: Collection[int]) -> Delivery | None:
        """Everything that waits on those of these lanes that are due and not in flight, the longest wait first, within bounds."""
        now = self._clock()
        due = [state for lane, state in self._lanes.items() if lane in held and _is_offered(state) and state.due_at <= now]
        if not due:
            return None
        due.sort(key=lambda state: state.waiting[0][0])
        if due[0].has_failed:
            return self._hand_out(due[:1], due[0].again or len(due[0].waiting))
        return self._hand_out([state for state in due if not state.has_failed], DELIVERY_COMMANDS_MAX)

    def due_seconds(self, held: Collection[int]) -> float:
        """How long until a lane that failed may be offered again; infinity when none waits for that."""
        dues = [state.due_at for lane, state in self._lanes.items() if lane in held and _is_offered(state) and state.has_failed]
        return max(0.0, min(dues) - self._clock()) if dues else float("inf")

    def finish(self, delivery: Delivery) -> list[Batch]:
        """The batches to settle: all of a committed delivery whose session still lasts. A failed delivery waits again."""
        settled: list[Batch] = []
        for lane in delivery.lanes:
            state = self._lanes[lane]
            state.is_in_flight = False
            live = [batch for batch in delivery.batches if batch.lane == lane and batch.session is state.session]
            if delivery.is_committed:
                state.backoff.succeeded()
                state.again = 0
                settled += live
            else:
                state.due_at = self._clock() + state.backoff.failed()
                state.again = len(live)
                state.waiting.extendleft((0, batch) for batch in reversed(live))
            if state.session is None:
                del self._lanes[lane]
        return settled

    def _hand_out(self, states: list[_Lane], batches_max: int) -> Delivery:
        batches: list[Batch] = []
        commands = size = 0
        for state in states:
            while state.waiting and len(batches) < batches_max:
                batch = state.waiting[0][1]
                fits = commands + len(batch.envelopes) <= DELIVERY_COMMANDS_MAX and size + batch.size <= DELIVERY_BYTES_MAX
                if batches and not fits:
                    return Delivery(batches)
                state.waiting.popleft()
                state.is_in_flight = True
                batches.append(batch)
                commands += len(batch.envelopes)
                size += batch.size
        return Delivery(batches)


def _is_offered(state: _Lane) -> bool:
    return bool(state.waiting) and not state.is_in_flight
