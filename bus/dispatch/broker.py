"""Our Dramatiq broker and its consumer: one queue, one actor, many lanes. The roof holds lanes, Dramatiq's threads execute.

    Transport.receive ──> Lanes ── next ──> Message(Delivery) ──> Dramatiq's worker threads
    Transport.settle <── Lanes <── finish <── `ack`, from those threads

None of Dramatiq's default middleware: its retries can lose a message, its time limits can kill a worker thread. A delivery that
raises waits in place and is offered again, for ever; it is never acked and never requeued. Dramatiq acks a message whose actor
raised, too: whether a delivery is settled depends on `is_committed` alone.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import dramatiq
import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import QueueNotFound

from twofold.bus.dispatch.lanes import Delivery, Lanes, Transport
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import NotKnown, Unavailable

QUEUE = "commands"
ACTOR = "execute"
WORKER_TIMEOUT_MILLISECONDS = 250
"""How often idle threads look whether they should stop."""
LOG_SECONDS = 1.0
"""At most one line about failing deliveries in this time."""

LEAVE_SECONDS_MAX = 5.0
"""How long a lane that was lost may stay open for the delivery that is in flight; its effects are safe either way."""

OnNotKnown = Callable[[int, frozenset[str]], None]
Execute = Callable[[Sequence[Envelope]], object]


class LaneBroker(dramatiq.Broker):
    """What both brokers share. `drained` is called when everything that was ever put into a lane is executed, before that is
    settled: so at least once, and again when it raises."""

    def __init__(self, drained: Callable[[int], None]) -> None:
        super().__init__(middleware=[])
        self.drained = drained
        self._held: frozenset[int] = frozenset()
        self._consumer: LaneConsumer | None = None

    @abstractmethod
    def transport(self, lanes: Lanes) -> Transport:
        """A new transport for a new consumer."""

    def hold(self, lanes: Iterable[int]) -> None:
        """Consume these lanes, and no other, from now on. From any thread."""
        self._held = frozenset(lanes)
        self.wake()

    def wake(self) -> None:
        """Let the consumer look again, now. From any thread."""
        if self._consumer is not None:
            self._consumer.wake()

    def away_seconds(self) -> float:
        """How long the lanes have been out of reach; 0 when they are not. From any thread."""
        return self._consumer.away_seconds() if self._consumer is not None else 0.0

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 2, timeout: int = WORKER_TIMEOUT_MILLISECONDS) -> LaneConsumer:
        """Dramatiq prefetches two messages for each worker thread; deliveries are not prefetched, so it is half of that."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]
        transport = self.transport(Lanes())
        self._consumer = LaneConsumer(transport, lambda: self._held, ACTOR, QUEUE, max(1, prefetch // 2), timeout / 1000)
        return self._consumer

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Refused: commands enter through a CommandQueue, which says when they are durable."""
        raise NotImplementedError("commands enter through a CommandQueue")


class LaneConsumer(Consumer):
    """Merges what waits into deliveries, settles what was committed, follows the leases. Everything but `ack`, `nack`, `wake`
    and `away_seconds` happens in Dramatiq's consumer thread.

    At most `deliveries_max` in flight: one for each worker thread, since what waits longer merges better."""

    def __init__(
        self,
        transport: Transport,
        held: Callable[[], Collection[int]],
        actor_name: str,
        queue_name: str,
        deliveries_max: int,
        timeout_seconds: float,
    ) -> None:
        self._transport = transport
        self._lanes = transport.lanes
        self._held = held
        self._actor_name = actor_name
        self._queue_name = queue_name
        self._deliveries_max = deliveries_max
        self._timeout_seconds = timeout_seconds
        self._in_flight = 0
        self._finished: deque[Delivery] = deque()
        self._lost_at: dict[int, float] = {}

    def __next__(self) -> MessageProxy | None:
        deadline = time.monotonic() + self._timeout_seconds
        self._transport.receive(0.0)
        while True:
            self._settle_finished()
            held = self._held()
            self._follow(held)
            delivery = self._lanes.next(held) if self._in_flight < self._deliveries_max else None
            if delivery is not None:
                self._in_flight += 1
                return MessageProxy(Message(self._queue_name, self._actor_name, (delivery,), {}, {}))
            seconds = min(deadline - time.monotonic(), self._lanes.due_seconds(held))
            if deadline <= time.monotonic():
                return None
            self._transport.receive(max(0.0, seconds))

    def ack(self, message: MessageProxy) -> None:
        """From a worker thread: the delivery is finished, one way or the other."""
        self._finished.append(message.args[0])
        self._transport.wake()

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)

    def wake(self) -> None:
        self._transport.wake()

    def away_seconds(self) -> float:
        return self._transport.away_seconds()

    def close(self) -> None:
        self._settle_finished()
        self._transport.shut()

    def _settle_finished(self) -> None:
        settled = []
        while self._finished:
            self._in_flight -= 1
            settled += self._lanes.finish(self._finished.popleft())
        if settled:
            self._transport.settle(settled)

    def _follow(self, held: Collection[int]) -> None:
        """Open lanes that were won and close those that were lost, once what is in flight on them is finished."""
        now = time.monotonic()
        opened = self._transport.opened
        if set(held) == set(opened):
            self._lost_at.clear()
            return
        for lane in [lane for lane in opened if lane not in held]:
            lost_at = self._lost_at.setdefault(lane, now)
            is_free = not self._lanes.is_in_flight(lane) or now - lost_at > LEAVE_SECONDS_MAX
            if is_free and lane in self._transport.opened:  # closing one may have lost the connection, and so the others
                self._transport.close(lane)
        for lane in sorted(held):
            self._lost_at.pop(lane, None)
            if lane not in self._transport.opened:
                self._transport.open(lane)


def declare_execute(
    broker: LaneBroker, execute: Execute, execute_carefully: Execute | None = None, on_not_known: OnNotKnown | None = None
) -> None:
    """Have this called with what waits on the held lanes, in order within each lane. Whatever it raises, it is called
    with the same again later. `execute_carefully` is called instead with what may kill the process; `on_not_known` is
    told the lane that has to wait for somebody who knows its commands, at every try."""
    log_after = 0.0

    def run(delivery: Delivery) -> None:
        nonlocal log_after
        try:
            if envelopes := delivery.envelopes:
                (execute_carefully or execute)(envelopes) if delivery.is_careful else execute(envelopes)
            for lane in delivery.drained:
                broker.drained(lane)
        except NotKnown as error:
            delivery.is_left = True
            if on_not_known is not None and len(delivery.lanes) == 1:  # else each is tried again alone
                on_not_known(delivery.lanes[0], error.names)
        except Exception as error:
            now = time.monotonic()
            if now >= log_after:
                log_after = now + LOG_SECONDS
                structlog.get_logger().warning("delivery waits", delivery=repr(delivery), error=_without_payload(error))
        else:
            delivery.is_committed = True

    dramatiq.Actor(run, broker=broker, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})


def start_worker(broker: LaneBroker, threads: int) -> dramatiq.Worker:
    """Dramatiq's worker, running. `worker.stop()` finishes what is being executed; then close the broker."""
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=WORKER_TIMEOUT_MILLISECONDS)
    worker.start()
    return worker


def _without_payload(error: Exception) -> str:
    """What an Unavailable says is ours; the text of any other exception may quote a command, so only where it was raised."""
    if isinstance(error, Unavailable):
        return f"Unavailable: {error}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{where}"
