"""One lane as a gateway sees it: what waits to leave for it, and how long what leaves now will wait there for its worker.

    put ──> waiting ── take ──> a batch leaves; its last command is a mark ──> the mark's outcome is heard

A lane is first in, first out, whoever else puts commands into it: with a mark, all that left before it is decided. So what this
gateway has in the lane, and how fast that becomes less, tell how long the next command waits. Times are the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable

BATCH_COMMANDS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
ENVELOPE_BYTES = 400  # beside its data, about

MARK_SECONDS = 0.05
"""How far apart marks are: nothing else is kept of what has left."""
SHORT_SECONDS = 0.25
"""What waits less has met no queue, and tells nothing of how fast the lane becomes shorter."""
RATE_SECONDS_MIN, RATE_SECONDS_MAX = 1.0, 3.0
"""Over how long the rate is taken. A lane of which nothing is heard for the shorter of these stands, and has none."""
FORESIGHT = 10.0
"""What was seen for a second is believed for ten, as far as RATE_SECONDS_MAX goes: a worker that has just taken a lane over
begins more slowly than it goes on."""
PROBE_SECONDS = 1.0
"""So often one command is let into a queue that is too long: with its outcome the queue is known to be gone."""
RETRY_SECONDS, RETRY_SECONDS_MAX = 5.0, 60.0


class Waiting(NamedTuple):
    """A command that has not left."""

    envelope: Envelope
    accepted: asyncio.Future[None]
    size: int
    deadline: float
    """When its client is told that it may not be durable."""


class _Mark(NamedTuple):
    commands: int
    at: float


class QueueTime:
    """How long a command that leaves now waits for its worker, as far as one can tell from what has left before."""

    def __init__(self) -> None:
        self._left = self._decided = 0
        self._marks: OrderedDict[str, _Mark] = OrderedDict()
        self._history: deque[_Mark] = deque()
        """How many were decided when, since there has been a queue."""
        self._probed_at = float("-inf")

    def leaves(self, batch: list[Waiting], now: float) -> None:
        self._left += len(batch)
        newest = next(reversed(self._marks.values()), None)
        if newest is None or now - newest.at >= MARK_SECONDS:
            self._marks[batch[-1].envelope.command_id] = _Mark(self._left, now)

    def came_back(self, batch: list[Waiting]) -> None:
        """It did not get there, as far as one knows."""
        self._left -= len(batch)
        self._marks.pop(batch[-1].envelope.command_id, None)

    def decided(self, command_id: str, now: float) -> None:
        """For every outcome of the lane; most are of no mark."""
        mark = self._marks.get(command_id)
        if mark is None:
            return
        stood = self._history and now - self._history[-1].at > RATE_SECONDS_MIN
        if stood or now - mark.at < SHORT_SECONDS:
            self._history.clear()
        while command_id in self._marks:
            self._marks.popitem(last=False)
        self._decided = mark.commands
        self._history.append(_Mark(mark.commands, now))
        while len(self._history) > 2 and now - self._history[1].at > RATE_SECONDS_MAX:
            self._history.popleft()

    def seconds(self, now: float, seen_seconds: float = RATE_SECONDS_MIN) -> float:
        """As long as the oldest has waited by now, where one cannot tell: the lane was not seen to move for so long."""
        if not self._marks:
            return 0.0
        rate = self._rate(now, seen_seconds)
        return (self._left - self._decided) / rate if rate else now - self._oldest().at

    def refusal(self, now: float, seconds_max: float) -> Unavailable | None:
        """Why a command is not to be put here now; None when it may, or when it is needed to find out."""
        if not self._marks:
            return None
        seen_seconds = min(max(RATE_SECONDS_MIN, seconds_max / FORESIGHT), RATE_SECONDS_MAX)
        if (seconds := self.seconds(now, seen_seconds)) <= seconds_max:
            return None
        if now - self._probed_at >= PROBE_SECONDS:
            self._probed_at = now
            return None
        return Unavailable(
            Neighbour.WORKERS,
            "the queue is too long",
            detail=f"a command would wait {seconds:.0f} s",
            retry_after_seconds=min(seconds - seconds_max if self._rate(now, seen_seconds) else RETRY_SECONDS, RETRY_SECONDS_MAX),
            is_overload=True,
        )

    def overdue(self, now: float, since_seconds: float) -> list[str]:
        """The oldest mark, when its outcome should have been heard for so long."""
        return [next(iter(self._marks))] if self._marks and now - self._oldest().at > since_seconds else []

    def _rate(self, now: float, seen_seconds: float) -> float | None:
        """Commands decided a second; None when there is no queue, or it stands, or was not seen to move for so long."""
        if len(self._history) < 2 or now - self._history[-1].at > RATE_SECONDS_MIN:
            return None
        seconds = self._history[-1].at - self._history[0].at
        return (self._history[-1].commands - self._history[0].commands) / seconds if seconds >= seen_seconds else None

    def _oldest(self) -> _Mark:
        return next(iter(self._marks.values()))


@dataclass(slots=True)
class Lane:
    """Every lane has its share of the room: one that is stuck takes none from the others."""

    commands_max: int
    bytes_max: int
    waiting: deque[Waiting] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    pending_commands: int = 0
    pending_bytes: int = 0
    """What waits or is under way."""
    queue: QueueTime = field(default_factory=QueueTime)

    def has_room(self, size: int = 0) -> bool:
        return self.pending_commands < self.commands_max and self.pending_bytes + size <= self.bytes_max

    def add(self, waiting: Waiting) -> None:
        self.pending_commands += 1
        self.pending_bytes += waiting.size
        self.waiting.append(waiting)
        self.arrived.set()

    def take(self) -> list[Waiting]:
        """The next batch; empty when nothing waits."""
        waiting, batch, size = self.waiting, list[Waiting](), 0
        while waiting and len(batch) < BATCH_COMMANDS_MAX and (not batch or size + waiting[0].size <= BATCH_BYTES_MAX):
            batch.append(waiting.popleft())
            size += batch[-1].size
        if not waiting:
            self.arrived.clear()
        return batch

    def take_late(self, now: float) -> list[Waiting]:
        """Those whose time is up before they could leave: what was before them took all of it."""
        late: list[Waiting] = []
        while self.waiting and self.waiting[0].deadline <= now:
            late.append(self.waiting.popleft())
        return late

    def settle(self, batch: list[Waiting], error: Exception | None) -> None:
        """Durable, or not as far as one knows."""
        for waiting in batch:
            self.pending_commands -= 1
            self.pending_bytes -= waiting.size
            if waiting.accepted.done():
                pass  # whoever asked has gone; the command has not
            elif error is None:
                waiting.accepted.set_result(None)
            else:
                waiting.accepted.set_exception(error.again() if isinstance(error, Unavailable) else error)
