"""Consumes lanes from RabbitMQ: one connection, one channel per lane, driven by Dramatiq's consumer thread.

How a lane keeps its order when it changes hands (measured on RabbitMQ 3.10, tests/contract/test_bus_rabbit.py): the queue
has a single active consumer, and when the channel of that consumer goes, what it held returns in order before the next one
is served. That is true for a channel or connection that is closed, cut, or gone silent. It is NOT true after `basic.cancel`:
the next consumer is then served at once, with later messages, and pika even rejects what still arrives, one by one. pika
cancels all consumers before it closes a channel, hence `_close_without_cancel`. And nothing is ever requeued.

Returned messages stand in one line, a successor takes PREFETCH_MESSAGES of them at once: as many as its predecessor can
have held. A successor with a smaller prefetch that died too would return its part behind the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.dispatch.lanes import CAREFUL_TAKES, LaneMessage, Lanes, Transport
from twofold.bus.rabbitmq.epochs import declare
from twofold.bus.rabbitmq.topology import END, PREFETCH_MESSAGES, lane_queue, parameters, unavailable
from twofold.kernel.backoff import Backoff
from twofold.kernel.envelope import decode_batch
from twofold.kernel.errors import Malformed, Unavailable, WrongPassword
from twofold.kernel.lanes import LaneEpochs

RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 2.0
SHUT_SECONDS_MAX = 2.0
TAKES_HEADERS = ("x-delivery-count", "x-acquired-count")
"""Where quorum queues count deliveries; the second, where there is one, counts those that merely changed hands, too."""
CONNECTION_ERRORS = (pika.exceptions.AMQPError, OSError)


class RabbitBroker(LaneBroker):
    """The workers' end. Connects when Dramatiq's worker starts."""

    def __init__(self, url: str, epochs: LaneEpochs, prefix: str) -> None:
        super().__init__(epochs.drained)
        self._url = url
        self._epochs = epochs
        self._prefix = prefix

    def transport(self, lanes: Lanes) -> Transport:
        return RabbitTransport(self._url, self._epochs, self._prefix, lanes)


class RabbitTransport(Transport):
    """A lane's session is its channel. Trouble with one channel is trouble with the connection: cut, pause, reconnect."""

    def __init__(self, url: str, epochs: LaneEpochs, prefix: str, lanes: Lanes) -> None:
        super().__init__(lanes)
        self._parameters = parameters(url, "workers")
        self._prefix = prefix
        self._epochs = epochs
        self._connection: Any = None
        self._channels: dict[int, Any] = {}
        self._woken = threading.Event()
        self._backoff = Backoff(RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX)
        self._connect_at = 0.0
        self._away_since: float | None = time.monotonic()
        self._is_cancelled = False

    @property
    def opened(self) -> Collection[int]:
        return self._channels.keys()

    def open(self, lane: int) -> None:
        if self._connection is None:
            return
        try:
            channel = self._connection.channel()
            channel.basic_qos(prefetch_count=PREFETCH_MESSAGES)
            channel.add_on_cancel_callback(self._on_cancel)
            self._channels[lane] = channel
            self.lanes.open(lane, channel)
            channel.basic_consume(lane_queue(self._prefix, lane), partial(self._on_message, lane))
        except CONNECTION_ERRORS as error:
            self._cut(error)

    def close(self, lane: int) -> None:
        channel = self._channels.pop(lane)
        self.lanes.close(lane)
        try:
            _close_without_cancel(channel)
        except CONNECTION_ERRORS as error:
            self._cut(error)

    def receive(self, seconds: float) -> None:
        try:
            if self._connection is None:
                self._reconnect(seconds)
            else:
                self._connection.process_data_events(seconds)
                if self._is_cancelled:
                    raise pika.exceptions.ConsumerCancelled("a lane's queue is gone")
        except (*CONNECTION_ERRORS, Unavailable) as error:
            self._cut(error)

    def settle(self, messages: Sequence[LaneMessage]) -> None:
        """One ack per lane: it stands for all before it on that channel, since a lane is settled in order."""
        last: dict[int, LaneMessage] = {message.lane: message for message in messages}
        try:
            for lane, message in last.items():
                self._channels[lane].basic_ack(message.token, multiple=True)
        except CONNECTION_ERRORS as error:
            self._cut(error)

    def wake(self) -> None:
        self._woken.set()
        connection = self._connection
        if connection is not None:
            try:
                connection.add_callback_threadsafe(_nothing)
            except CONNECTION_ERRORS:
                return  # it was lost this moment, and the thread that would be woken has noticed or will

    def away_seconds(self) -> float:
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def shut(self) -> None:
        leaving = dict(self._channels)
        for lane in leaving:
            if lane in self._channels:
                self.close(lane)
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            deadline = time.monotonic() + SHUT_SECONDS_MAX
            while any(not channel.is_closed for channel in leaving.values()) and time.monotonic() < deadline:
                connection.process_data_events(0.05)
            connection.close()
        except CONNECTION_ERRORS:
            return  # closed is closed; the broker returns what was not settled

    def _reconnect(self, seconds: float) -> None:
        wait_seconds = self._connect_at - time.monotonic()
        if wait_seconds > 0:
            self._woken.wait(min(seconds, wait_seconds))
            self._woken.clear()
            return
        self._connection = BlockingConnection(self._parameters)
        control: BlockingChannel = self._connection.channel()
        declare(control, self._prefix, self._epochs)
        control.close()
        self._away_since = None
        self._backoff.succeeded()

    def _on_message(self, lane: int, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        if lane not in self._channels or self._channels[lane] is not channel:
            return  # it was given back when its channel was closed
        try:
            envelopes = decode_batch(body)
        except Malformed:
            structlog.get_logger().error("undecodable message moved to the dead letters", lane=lane, bytes=len(body))
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            takes = _takes(properties.headers or {}) if method.redelivered else 0
            is_last = properties.type == END
            self.lanes.add(LaneMessage(lane, envelopes, len(body), method.delivery_tag, channel, takes, is_last))

    def _on_cancel(self, _frame: Any) -> None:
        """The broker consumes a lane for us no more, its queue was deleted or its node is gone: begin anew, which declares it."""
        self._is_cancelled = True

    def _cut(self, error: BaseException) -> None:
        """Give up the connection and everything on it, at once and without closing: the broker sees it end and returns all."""
        connection, self._connection = self._connection, None
        self._is_cancelled = False
        self._away_since = self._away_since or time.monotonic()
        for lane in list(self._channels):
            del self._channels[lane]
            self.lanes.close(lane)
        trouble = unavailable(error)
        reason = str(trouble) if isinstance(trouble, WrongPassword) else repr(error)
        structlog.get_logger().warning("broker lost", host=self._parameters.host, port=self._parameters.port, reason=reason)
        self._connect_at = time.monotonic() + self._backoff.failed()
        if connection is not None and connection.is_open:
            _abort(connection)


def _takes(headers: dict[str, Any]) -> int:
    """How often a message was delivered before. A broker that does not say so may have done it any number of times."""
    return max(int(headers.get(name, 0)) for name in TAKES_HEADERS) or CAREFUL_TAKES


def _close_without_cancel(channel: Any) -> None:
    """`channel.close()` without the `basic.cancel` that pika sends before it."""
    inner = channel._impl
    if not inner.is_open:
        return
    reason = pika.exceptions.ChannelClosedByClient(200, "lane released")
    inner._closing_reason = reason
    inner._set_state(inner.CLOSING)
    inner._rpc(pika.spec.Channel.Close(200, "lane released", 0, 0), inner._on_closeok, [pika.spec.Channel.CloseOk])


def _abort(connection: Any) -> None:
    """`connection.close()` without the cancels: end the stream, then let pika notice and free what it holds."""
    try:
        connection._impl._terminate_stream(pika.exceptions.StreamLostError("given up"))
        connection.process_data_events(0.0)
    except CONNECTION_ERRORS:
        return  # what was to happen


def _nothing() -> None:
    """Wakes a thread that waits in process_data_events."""
