"""Dramatiq's part in effects: an actor for each effect, one consumer for all of them.

    EffectQueue.put ──> queue of the effect ── CallSource.receive ──> hands ── next ──> Message(TakenCall) ──> actor, in a thread
                              ^                                                                                  │ perform
                              └── put, with a delay <── another try                done: settle <────────────────┘

A call is settled when nothing is left to do about it, or its next try is durable in the queue. Until then it stays in the hands
of this process, and with the broker: a process that is killed has it come again. Hence none of Dramatiq's own retries and delays,
which acknowledge a message whose next try got lost, and hold what is delayed unacknowledged in memory (docs/decisions/0035).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import dramatiq
import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import QueueNotFound

from twofold.kernel.effects import AskedCall, decode_call
from twofold.kernel.errors import Malformed

QUEUE = "effects"
WORKER_TIMEOUT_MILLISECONDS = 500
"""How often idle threads look whether they should stop; there are many of them."""
RETRY_SECONDS = 1.0
"""When a call is tried in place again that could neither be finished nor put back: the broker is away, or the log is."""


Perform = Callable[[AskedCall, int], tuple[AskedCall, float] | None]
"""Of a call and how often it was taken in vain before: what is left to do, the call and in how many seconds; None for nothing.
Raises when it has to stay where it is."""
Admits = Callable[[str], bool]
"""Whether a call of this effect may be performed now. It is, if so."""


@dataclass(slots=True, eq=False)
class TakenCall:
    """A call in the hands of this process. `token` says to `session`, the connection or table that it came from, which it is."""

    call: AskedCall
    token: int
    session: object
    taken_at: float
    takes: int = 0
    """How often it was taken before by somebody who did not finish it. 0 as well where nobody counts."""
    due_at: float = 0.0
    is_settled: bool = False


class CallSource(ABC):
    """Where calls come from. Everything but `wake` and `arrived` happens in Dramatiq's consumer thread.

    `hands` are the calls that were taken and not given to a thread yet, by effect: a few of each."""

    def __init__(self, effects: Collection[str]) -> None:
        self.hands: dict[str, deque[TakenCall]] = {effect: deque() for effect in effects}

    @abstractmethod
    def receive(self, seconds: float) -> None:
        """Fill the hands; wait at most so long for something to happen. Never raises."""

    @abstractmethod
    def settle(self, taken: TakenCall) -> None:
        """It need not come again. Never raises: one that comes all the same is performed again, under the same key."""

    @abstractmethod
    def is_mine(self, taken: TakenCall) -> bool:
        """Whether it is this process's still; if not, it comes again, to somebody."""

    @abstractmethod
    def wake(self) -> None:
        """Let `receive` return. From any thread."""

    def arrived(self) -> None:
        """Something was put just now. From any thread."""
        self.wake()

    @abstractmethod
    def shut(self) -> None:
        """Give back what is in the hands."""


class EffectBroker(dramatiq.Broker):
    """The performers' end of the queue of effects. An effect has half of the threads at most: one that hangs leaves some to
    the others."""

    def __init__(self, effects: Collection[str]) -> None:
        super().__init__(middleware=[])
        self._effects = effects
        self._consumer: EffectConsumer | None = None
        self.admits: Admits = lambda effect: True

    @abstractmethod
    def source(self, effects: Collection[str], in_hand_max: int) -> CallSource:
        """A new source for a new consumer."""

    @abstractmethod
    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        """As EffectQueue.put."""

    def arrived(self) -> None:
        """Something was put just now, by this process. From any thread."""
        if self._consumer is not None:
            self._consumer.arrived()

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 2, timeout: int = WORKER_TIMEOUT_MILLISECONDS) -> EffectConsumer:
        """Dramatiq prefetches two messages for each of its threads; calls are not prefetched, so it is half of that."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]
        threads = max(1, prefetch // 2)
        under_way_max = max(1, threads // 2)
        source = self.source(self._effects, 4 * under_way_max)
        self._consumer = EffectConsumer(source, self.admits, threads, under_way_max, timeout / 1000)
        return self._consumer

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Refused: calls enter through an EffectQueue, which says when they are durable."""
        raise NotImplementedError("calls enter through an EffectQueue")


class EffectConsumer(Consumer):
    """Gives calls to Dramatiq's threads, an effect after the other, as far as each is admitted. Everything but `ack`, `nack` and
    `arrived` happens in Dramatiq's consumer thread."""

    def __init__(self, source: CallSource, admits: Admits, threads: int, under_way_max: int, timeout_seconds: float) -> None:
        self._source = source
        self._admits = admits
        self._threads = threads
        self._under_way_max = under_way_max
        self._timeout_seconds = timeout_seconds
        self._under_way: dict[str, int] = dict.fromkeys(source.hands, 0)
        self._turns = deque(source.hands)
        self._finished: deque[TakenCall] = deque()

    def __next__(self) -> MessageProxy | None:
        deadline = time.monotonic() + self._timeout_seconds
        self._source.receive(0.0)
        while True:
            self._settle_finished()
            if (taken := self._next()) is not None:
                return MessageProxy(Message(QUEUE, taken.call.effect, (taken,), {}, {}))
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                return None
            self._source.receive(seconds)

    def ack(self, message: MessageProxy) -> None:
        """From a worker thread: it has been tried, one way or the other."""
        self._finished.append(message.args[0])
        self._source.wake()

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)

    def arrived(self) -> None:
        self._source.arrived()

    def close(self) -> None:
        self._settle_finished()
        self._source.shut()

    def _next(self) -> TakenCall | None:
        now = time.monotonic()
        if sum(self._under_way.values()) >= self._threads:
            return None
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            effect = self._turns[0]
            hand = self._source.hands[effect]
            if hand and hand[0].due_at <= now and self._under_way[effect] < self._under_way_max and self._admits(effect):
                self._under_way[effect] += 1
                return hand.popleft()
        return None

    def _settle_finished(self) -> None:
        while self._finished:
            taken = self._finished.popleft()
            self._under_way[taken.call.effect] -= 1
            if taken.is_settled:
                self._source.settle(taken)
            elif self._source.is_mine(taken):
                taken.due_at = time.monotonic() + RETRY_SECONDS
                self._source.hands[taken.call.effect].append(taken)


def call_of(effect: str, body: bytes) -> AskedCall:
    """What stands in the queue of this effect. Raises Malformed."""
    call = decode_call(body)
    if call.effect != effect:
        raise Malformed("a call of another effect")
    return call


def declare_effects(broker: EffectBroker, effects: Collection[str], perform: Perform, admits: Admits) -> None:
    """An actor for each of these effects, called with what waits in its queue."""
    broker.admits = admits

    def run(taken: TakenCall) -> None:
        try:
            left = perform(taken.call, taken.takes)
            if left is not None:
                broker.put([left[0]], left[1])
        except Exception as error:
            # Not what was said, which may be a payload.
            structlog.get_logger().warning("a call stays where it is", effect=taken.call.effect, error=type(error).__name__)
        else:
            taken.is_settled = True

    for effect in effects:
        dramatiq.Actor(run, broker=broker, actor_name=effect, queue_name=QUEUE, priority=0, options={})


def start_performers(broker: EffectBroker, threads: int) -> dramatiq.Worker:
    """Dramatiq's worker, running. `worker.stop()` waits for what is under way; then close the broker."""
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=WORKER_TIMEOUT_MILLISECONDS)
    worker.start()
    return worker
