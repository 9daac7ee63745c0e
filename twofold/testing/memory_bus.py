"""The bus in memory: rings and outcomes as callbacks, lanes over a table that is gone with the process, and their epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from time import monotonic

from twofold.bus.embedded.bell import LocalBell as MemoryBell
from twofold.bus.embedded.bell import LocalOutcomes as MemoryOutcomes
from twofold.bus.embedded.publisher import command_queue
from twofold.bus.embedded.transport import EmbeddedBroker
from twofold.bus.outbox import Outbox
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import KEPT_SECONDS, Epoch, LaneState, place_of
from twofold.testing.memory_lanes import MemoryLaneTable

__all__ = ["MemoryBell", "MemoryLaneEpochs", "MemoryOutcomes", "memory_lanes"]


def memory_lanes(lanes: int, table: MemoryLaneTable | None = None) -> tuple[Outbox, EmbeddedBroker]:
    """Both ends of so many lanes: what a gateway puts into (port CommandQueue; `await start()` it), and what workers consume."""
    table = table or MemoryLaneTable()
    broker = EmbeddedBroker(table)
    return command_queue(table, lanes, broker.wake), broker


class MemoryLaneEpochs:
    """Port LaneEpochs. Thread-safe; with a `count`, the log has its first lanes."""

    def __init__(self, count: int | None = None) -> None:
        self._lock = RLock()
        self._state: LaneState | None = None
        self._due_at = 0.0
        if count is not None:
            self._state = LaneState(Epoch(0, count))

    def state(self) -> LaneState:
        with self.pinned() as state:
            return state

    @contextmanager
    def pinned(self) -> Iterator[LaneState]:
        with self._lock:
            if self._state is None:
                raise Misconfigured("nobody has said how many lanes there are")
            yield self._state

    def lose(self, before: LaneState) -> None:
        """What was so before is so again, as after a failover to a replica that had not got the last commits."""
        with self._lock:
            self._state = before

    def open(self, count: int) -> bool:
        with self.pinned() as state:
            if state.old is not None:
                return False
            self._state = LaneState(Epoch(state.newest.number + 1, count), state.newest)
            self._due_at = 0.0
            return True

    def drained(self, lane: int) -> None:
        with self.pinned() as state:
            if state.old is not None and state.old.number == place_of(lane)[0]:
                drained = state.drained | {lane}
                is_over = len(drained) == state.old.lane_count
                self._state = state._replace(drained=drained, is_over=is_over)
                if is_over and not state.is_over:
                    self._due_at = monotonic() + KEPT_SECONDS

    def take_back(self, number: int) -> None:
        with self.pinned() as state:
            if state.newest.number + 1 == number and state.old is None:
                self._state, self._due_at = LaneState(state.newest, Epoch(number, 1), is_over=True), 0.0

    def forget(self, number: int) -> None:
        with self.pinned() as state:
            if state.old is not None and state.old.number == number and state.is_over:
                self._state = LaneState(state.newest)

    def claim(self, turn_seconds: float) -> bool:
        with self.pinned() as state:
            if state.old is None or self._due_at > monotonic():
                return False
            self._due_at = monotonic() + turn_seconds
            return True

    def defer(self, pause_seconds: float) -> None:
        with self.pinned() as state:
            if not state.is_over:
                self._due_at = monotonic() + pause_seconds
