"""Dramatiq's consumer over the lanes: merges what waits into deliveries, settles what was committed, follows the leases.

    Transport.receive ──> Lanes ── next ──> Message(Delivery) ──> Dramatiq's worker threads
    Transport.settle <── Lanes <── finish <── `ack`, from those threads

Everything but `ack`, `nack` and `wake` happens in Dramatiq's consumer thread. Dramatiq acks a message whose actor raised,
too: whether a delivery is settled depends on `is_committed` alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

from dramatiq import Consumer, Message, MessageProxy

from twofold.bus.dispatch.delivery import Delivery
from twofold.bus.dispatch.transport import Transport

LEAVE_SECONDS_MAX = 5.0
"""How long a lane that was lost may stay open for the delivery that is in flight; its effects are safe either way."""


class LaneConsumer(Consumer):
    """At most `deliveries_max` in flight: one for each worker thread, since what waits longer merges better."""

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
