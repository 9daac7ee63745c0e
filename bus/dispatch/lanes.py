"""What waits on the lanes of one process, and what may be executed next. Used by the consumer's thread alone, no I/O.

A lane, from its messages' point of view:

    add ──> waiting ── next ──> in flight ── committed ──> settled
              ^                     │
              └── after a pause ────┘ failed: the same messages again, in front, alone, for ever

A lane has at most one delivery in flight, so it is first in, first out whatever happens to a delivery. Lanes that are
well share a delivery; one that failed is offered alone, so that it can hold up nobody but itself, and so is one whose next
message was in others' hands before who all ended without an outcome: it may be what ended them (docs/decisions/0012).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from twofold.kernel.backoff import Backoff
from twofold.kernel.envelope import Envelope

DELIVERY_COMMANDS_MAX = 1_000
DELIVERY_BYTES_MAX = 4 * 1024 * 1024
CAREFUL_TAKES = 2
"""A message that was taken so often, and never settled, is executed carefully. Once is nothing: lanes change hands."""
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LaneMessage:
    """A batch of envelopes, as it was published. `token` is what its transport settles it by, `size` its bytes, `session` the
    stay on the lane during which it came: settling it after that means nothing any more. `takes`: how often it was taken before,
    by whoever ended without settling it.

    It never shows a payload: Dramatiq writes the arguments of a message into its logs.
    """

    lane: int
    envelopes: list[Envelope]
    size: int
    token: int
    session: object
    takes: int = 0
    is_last: bool = False
    """Nothing was accepted into the lane behind it."""

    @property
    def is_suspect(self) -> bool:
        return self.takes >= CAREFUL_TAKES

    def __repr__(self) -> str:
        return f"LaneMessage(lane={self.lane}, commands={len(self.envelopes)})"


class Delivery:
    """Messages of one or more lanes, in order within each, that are executed as one. Settled only when `is_committed`."""

    def __init__(self, messages: list[LaneMessage]) -> None:
        self.messages = messages
        self.is_committed = False
        self.is_left = False
        """Some of its commands are not known here; the others are decided. What comes after it may be tried with it."""

    @property
    def is_careful(self) -> bool:
        """Whether one of its commands may kill whoever decides it."""
        return any(message.is_suspect for message in self.messages)

    @property
    def envelopes(self) -> list[Envelope]:
        return [envelope for message in self.messages for envelope in message.envelopes]

    @property
    def drained(self) -> list[int]:
        """The lanes whose last message it has: with it, everything that was ever put into them is executed."""
        return [message.lane for message in self.messages if message.is_last]

    @property
    def lanes(self) -> list[int]:
        """The lanes it is made of, each once."""
        return list(dict.fromkeys(message.lane for message in self.messages))

    def __repr__(self) -> str:
        return f"Delivery(lanes={self.lanes}, commands={sum(len(message.envelopes) for message in self.messages)})"


@dataclass(slots=True)
class _Lane:
    session: object | None = None
    waiting: deque[tuple[int, LaneMessage]] = field(default_factory=deque)
    is_in_flight: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX))
    due_at: float = 0.0
    again: int = 0
    """How many messages the failed delivery had: they are offered again, no more and no fewer."""

    @property
    def has_failed(self) -> bool:
        return self.backoff.seconds > 0

    @property
    def is_alone(self) -> bool:
        """What waits next is not to be offered together with other lanes' messages."""
        return self.has_failed or self.waiting[0][1].is_suspect


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

    def add(self, message: LaneMessage) -> None:
        """The lane's next message. One that comes from an earlier session is dropped: it comes again."""
        state = self._lanes.get(message.lane)
        if state is not None and state.session is message.session:
            self._arrived += 1
            state.waiting.append((self._arrived, message))

    def next(self, held: Collection[int]) -> Delivery | None:
        """Everything that waits on those of these lanes that are due and not in flight, the longest wait first, within bounds."""
        now = self._clock()
        due = [state for lane, state in self._lanes.items() if lane in held and _is_offered(state) and state.due_at <= now]
        if not due:
            return None
        due.sort(key=lambda state: state.waiting[0][0])
        if due[0].has_failed:
            return self._hand_out(due[:1], due[0].again or len(due[0].waiting))
        together = due[:1] if due[0].is_alone else [state for state in due if not state.is_alone]
        return self._hand_out(together, DELIVERY_COMMANDS_MAX)

    def due_seconds(self, held: Collection[int]) -> float:
        """How long until a lane that failed may be offered again; infinity when none waits for that."""
        dues = [state.due_at for lane, state in self._lanes.items() if lane in held and _is_offered(state) and state.has_failed]
        return max(0.0, min(dues) - self._clock()) if dues else float("inf")

    def finish(self, delivery: Delivery) -> list[LaneMessage]:
        """The messages to settle: all of a committed delivery whose session still lasts. A failed delivery waits again."""
        settled: list[LaneMessage] = []
        for lane in delivery.lanes:
            state = self._lanes[lane]
            state.is_in_flight = False
            live = [message for message in delivery.messages if message.lane == lane and message.session is state.session]
            if delivery.is_committed:
                if state.has_failed:
                    state.backoff.succeeded()
                state.again = 0
                settled += live
            else:
                state.due_at = self._clock() + state.backoff.failed()
                state.again = 0 if delivery.is_left else len(live)
                state.waiting.extendleft((0, message) for message in reversed(live))
            if state.session is None:
                del self._lanes[lane]
        return settled

    def _hand_out(self, states: list[_Lane], messages_max: int) -> Delivery:
        messages: list[LaneMessage] = []
        commands = size = 0
        for state in states:
            while state.waiting and len(messages) < messages_max:
                message = state.waiting[0][1]
                fits = commands + len(message.envelopes) <= DELIVERY_COMMANDS_MAX and size + message.size <= DELIVERY_BYTES_MAX
                if messages and not fits:
                    return Delivery(messages)
                state.waiting.popleft()
                state.is_in_flight = True
                messages.append(message)
                commands += len(message.envelopes)
                size += message.size
        return Delivery(messages)


def _is_offered(state: _Lane) -> bool:
    return bool(state.waiting) and not state.is_in_flight


class Transport(ABC):
    """Brings messages into `lanes` and settles them. Called by the consumer's thread alone, if nothing else is said. Never raises
    for a neighbour that is away: it reconnects by itself, and meanwhile brings nothing."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes

    @property
    @abstractmethod
    def opened(self) -> Collection[int]:
        """The lanes it consumes now."""

    @abstractmethod
    def open(self, lane: int) -> None:
        """Begin to consume a lane, from its first message that is not settled; when it cannot now, it is asked again."""

    @abstractmethod
    def close(self, lane: int) -> None:
        """Stop consuming a lane; what is not settled is given, in order, to whoever opens it next."""

    @abstractmethod
    def receive(self, seconds: float) -> None:
        """Wait for at most so long until something has come or `wake` is called."""

    @abstractmethod
    def settle(self, messages: Sequence[LaneMessage]) -> None:
        """Remove committed messages, all of open lanes, each lane's in order and with none before them left."""

    @abstractmethod
    def wake(self) -> None:
        """End a `receive` that waits. From any thread."""

    def away_seconds(self) -> float:
        """How long nothing could be consumed; 0 when all is well. From any thread."""
        return 0.0

    @abstractmethod
    def shut(self) -> None:
        """Close every lane and every connection."""
