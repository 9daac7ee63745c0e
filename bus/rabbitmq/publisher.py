"""Makes batches durable in RabbitMQ's quorum queues: published with confirms through pika's asyncio connection.

Batches come from the Outbox, one per lane at a time; a lost connection fails what is unconfirmed, and the Outbox asks again.
A message that comes back has no lane: either its epoch is over, and the log's database knows the next one, or its queue is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pika
import structlog

from twofold.bus.outbox import QUEUE_SECONDS_MAX, Outbox
from twofold.bus.publishing import EpochIsOver
from twofold.bus.rabbitmq.connection import AsyncChannel, keep_connected
from twofold.bus.rabbitmq.epochs import connected, declare
from twofold.bus.rabbitmq.topology import HEARTBEAT_SECONDS, commands_exchange, lane_key, parameters
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.lanes import Epoch, LaneEpochs

CONFIRMS_MAX = 1_000
"""Messages the broker has not confirmed; far above one per lane, so it is reached only when confirms stay out."""
CONFIRM_SECONDS_MAX = 5.0
ABSENT_SECONDS_MAX = 2.0
"""How long the broker may be away or blocked by an alarm before new commands are refused at the door."""
PERSISTENT = 2
LOOK_SECONDS = 5.0
"""How often a gateway asks whether its epoch is still one."""
DECLARE_SECONDS = 2.0 * HEARTBEAT_SECONDS + 1.0
"""How long a lane without a queue is left to its worker. Were it there again before the worker has noticed, the broker would take
the worker's consumer for one of the new queue, and drop what it delivers to it (RabbitMQ 3.10): by then a worker that was stopped
has lost its connection."""


def command_queue(url: str, epochs: LaneEpochs, prefix: str, queue_seconds_max: float = QUEUE_SECONDS_MAX) -> Outbox:
    """The gateway's end. `await start()` and `await close()` it on the loop that uses it. Raises Misconfigured for a bad URL."""
    publisher = RabbitPublisher(url, epochs, prefix)
    return Outbox(publisher, publisher.epoch, queue_seconds_max)


class RabbitPublisher:
    """A Publisher over RabbitMQ, to the lanes of `epoch`. Declares them, and declares them again after every reconnect."""

    def __init__(self, url: str, epochs: LaneEpochs, prefix: str) -> None:
        self._url = url
        self._parameters = parameters(url, "gateway")
        self._epochs = epochs
        self._prefix = prefix
        self._exchange = commands_exchange(prefix)
        self._begin(epochs.state().newest)
        self._channel: AsyncChannel | None = None
        self._confirms = Confirms()
        self._connecting: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lost_at: float | None = None

    async def start(self) -> None:
        """Begin to connect; does not wait for the broker, which may be away."""
        self._lost_at = 0.0
        self._connecting = asyncio.create_task(keep_connected(self._parameters, self._use))
        self._watching = asyncio.create_task(self._watch())

    async def publish(self, lane: int, body: bytes) -> None:
        key = self._keys.get(lane)
        if key is None:
            raise EpochIsOver(self.epoch)
        channel, refusal = self._channel, self._refusal()
        if refusal is not None or channel is None:
            raise refusal or _not_connected()
        tag, confirmed = self._confirms.expect()
        properties = pika.BasicProperties(delivery_mode=PERSISTENT, content_type="application/json", message_id=str(tag))
        try:
            channel.pika.basic_publish(self._exchange, key, body, properties, mandatory=True)
        except pika.exceptions.AMQPError as error:
            raise Unavailable(Neighbour.BROKER, "connection lost") from error
        try:
            async with asyncio.timeout(CONFIRM_SECONDS_MAX):
                await confirmed
        except TimeoutError as error:
            raise Unavailable(Neighbour.BROKER, "confirm timed out") from error

    def refusal(self) -> Unavailable | None:
        """A broker that has just gone, or blocks for a moment, is waited for; one that stays so is not."""
        since = self._lost_at
        if self._channel is not None and not self._channel.closed.done():
            since = self._channel.blocked_since
        if since is None or asyncio.get_running_loop().time() - since < ABSENT_SECONDS_MAX:
            return None
        return self._refusal()

    def _refusal(self) -> Unavailable | None:
        channel = self._channel
        if channel is None or channel.closed.done():
            return _not_connected()
        if channel.blocked_since is not None:
            return Unavailable(Neighbour.BROKER, "blocks publishers", is_overload=True)
        if len(self._confirms) >= CONFIRMS_MAX:
            return Unavailable(Neighbour.BROKER, "too many confirms outstanding", is_overload=True)
        return None

    async def close(self) -> None:
        tasks = [task for task in (self._connecting, self._looking, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _use(self, channel: AsyncChannel) -> None:
        try:
            await self._declare()
        except Unavailable as error:
            if error.neighbour != Neighbour.LOG:
                raise
            structlog.get_logger().warning("goes on in the epoch it knows", epoch=self.epoch.number, reason=str(error))
        confirms = Confirms()
        channel.pika.add_on_return_callback(confirms.on_return)
        channel.pika.add_on_return_callback(self._on_return)
        await channel.call("confirm_delivery", confirms.on_confirm)
        self._confirms, self._channel, self._lost_at = confirms, channel, None
        channel.closed.add_done_callback(lambda _: self._on_lost(confirms))

    def _begin(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self._keys = {lane: lane_key(lane) for lane in epoch.lanes}

    async def _declare(self) -> None:
        """From now on to the newest epoch, which is declared."""

        def declared() -> Epoch:
            with connected(self._url, "gateway declares") as channel:
                return declare(channel, self._prefix, self._epochs)

        newest = await asyncio.to_thread(declared)
        if newest != self.epoch:
            structlog.get_logger().info("publishes to another epoch", epoch=newest.number, lanes=newest.lane_count)
            self._begin(newest)

    def _on_return(self, _channel: Any, method: Any, *_: Any) -> None:
        if method.routing_key in self._keys.values():
            self._look(self._look_for_lane)

    async def _watch(self) -> None:
        """A log that has lost its tail may have lost our epoch: its lanes take what no worker will ever look for."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                state = await asyncio.to_thread(self._epochs.state)
            except Unavailable:
                continue
            if state.newest.number < self.epoch.number:
                self._look(self._declare)

    def _look(self, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(look())
            self._looking.add_done_callback(_ended)

    async def _look_for_lane(self) -> None:
        """A lane of an epoch that is over stays as it is. One whose queue is gone is declared again by its worker, whom the
        broker tells; we do so when nobody has."""
        state = await asyncio.to_thread(self._epochs.state)
        if state.newest == self.epoch:
            structlog.get_logger().error("a lane's queue is gone")
            await asyncio.sleep(DECLARE_SECONDS)
        await self._declare()

    def _on_lost(self, confirms: Confirms) -> Any:
        self._lost_at = asyncio.get_running_loop().time()
        confirms.fail_all()


class Confirms:
    """One channel's outstanding confirms: they may come out of order, and many at once. Tags count from 1, in publishing order.

    Fed by acks, nacks and returned messages. A returned message is confirmed too, right after it came back: it is known by its
    message id, which is its delivery tag.
    """

    def __init__(self) -> None:
        self._last_tag = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._returned: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self) -> tuple[int, asyncio.Future[None]]:
        """The tag of the message that is published next, and what is done when it is durable or fails with Unavailable."""
        self._last_tag += 1
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[self._last_tag] = confirmed
        return self._last_tag, confirmed

    def on_confirm(self, frame: Any) -> None:
        """Basic.Ack or Basic.Nack; with `multiple`, for every tag up to this one (0: for all)."""
        method = frame.method
        is_ack = isinstance(method, pika.spec.Basic.Ack)
        last = method.delivery_tag or self._last_tag
        tags = [tag for tag in self._waiting if tag <= last] if method.multiple else [last]
        for tag in tags:
            self._settle(tag, is_ack and tag not in self._returned)

    def on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        """No queue took the message: its lane does not exist. The ack that follows must not count."""
        self._returned.add(int(properties.message_id))

    def fail_all(self) -> None:
        """The connection is lost: nothing is known about any of them."""
        for tag in list(self._waiting):
            self._settle(tag, False)

    def _settle(self, tag: int, is_durable: bool) -> None:
        self._returned.discard(tag)
        confirmed = self._waiting.pop(tag, None)
        if confirmed is None or confirmed.done():
            return
        if is_durable:
            confirmed.set_result(None)
        else:
            confirmed.set_exception(Unavailable(Neighbour.BROKER, "not confirmed"))


def _not_connected() -> Unavailable:
    return Unavailable(Neighbour.BROKER, "not connected")


def _ended(declaring: asyncio.Task[None]) -> None:
    """The connection may go while it declares: the next one declares all the same."""
    if not declaring.cancelled() and (error := declaring.exception()) is not None:
        structlog.get_logger().warning("lanes not declared", reason=str(error))
