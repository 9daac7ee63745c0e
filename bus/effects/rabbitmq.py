"""Takes calls from RabbitMQ: one connection, one channel for each effect, driven by Dramatiq's consumer thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import pika
import structlog
from pika.adapters.blocking_connection import BlockingConnection

from twofold.bus.effects.dispatch import CallSource, EffectBroker, TakenCall, call_of
from twofold.bus.effects.publisher import RabbitCalls
from twofold.bus.effects.topology import declare_effects_on, effect_queue
from twofold.bus.rabbitmq.topology import parameters, unavailable
from twofold.kernel.backoff import Backoff
from twofold.kernel.effects import AskedCall
from twofold.kernel.errors import Malformed, Unavailable, WrongPassword

RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 2.0
HELD_SECONDS_MAX = 600.0
"""A call that waits in the hands for so long, because its effect rests, is put back: brokers take away what was not finished
within half an hour, and count it as delivered in vain."""
LOOK_SECONDS = 10.0
CONNECTION_ERRORS = (pika.exceptions.AMQPError, OSError)


class RabbitEffects(EffectBroker):
    """Port EffectQueue and its performers' end. Connects when first used."""

    def __init__(self, url: str, prefix: str, effects: Collection[str]) -> None:
        super().__init__(effects)
        self._url = url
        self._prefix = prefix
        self._calls = RabbitCalls(url, prefix, effects)

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        self._calls.put(calls, delay_seconds)

    def source(self, effects: Collection[str], in_hand_max: int) -> CallSource:
        return RabbitSource(self._url, self._prefix, effects, in_hand_max, self._calls)

    def close(self) -> None:
        """To be called when the worker has stopped, and nobody puts any more."""
        self._calls.close()


class RabbitSource(CallSource):
    """A call's session is its channel: one that came on a lost channel is settled no more, since its number is another's there.
    Trouble with one channel is trouble with the connection: cut, pause, reconnect."""

    def __init__(self, url: str, prefix: str, effects: Collection[str], in_hand_max: int, calls: RabbitCalls) -> None:
        super().__init__(effects)
        self._parameters = parameters(url, "effects")
        self._prefix = prefix
        self._in_hand_max = in_hand_max
        self._calls = calls
        self._connection: Any = None
        self._channels: dict[str, Any] = {}
        self._woken = threading.Event()
        self._backoff = Backoff(RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX)
        self._connect_at = 0.0
        self._look_at = 0.0
        self._is_cancelled = False

    def receive(self, seconds: float) -> None:
        try:
            if self._connection is None:
                self._reconnect(seconds)
                return
            self._connection.process_data_events(seconds)
            if self._is_cancelled:
                raise pika.exceptions.ConsumerCancelled("an effect's queue is gone")
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_SECONDS
                self._put_back()
        except (*CONNECTION_ERRORS, Unavailable) as error:
            self._cut(error)

    def settle(self, taken: TakenCall) -> None:
        if not self.is_mine(taken):
            return
        try:
            self._channels[taken.call.effect].basic_ack(taken.token)
        except CONNECTION_ERRORS as error:
            self._cut(error)

    def is_mine(self, taken: TakenCall) -> bool:
        return taken.session is self._channels.get(taken.call.effect)

    def wake(self) -> None:
        self._woken.set()
        connection = self._connection
        if connection is not None:
            try:
                connection.add_callback_threadsafe(_nothing)
            except CONNECTION_ERRORS:
                return  # it was lost this moment, and the thread that would be woken has noticed or will

    def shut(self) -> None:
        connection, self._connection = self._connection, None
        self._forget()
        if connection is not None:
            try:
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
        control = self._connection.channel()
        declare_effects_on(control, self._prefix, self.hands)
        control.close()
        for effect in self.hands:
            channel = self._connection.channel()
            channel.basic_qos(prefetch_count=self._in_hand_max)
            channel.add_on_cancel_callback(self._on_cancel)
            self._channels[effect] = channel
            channel.basic_consume(effect_queue(self._prefix, effect), partial(self._on_message, effect))
        self._backoff.succeeded()

    def _on_message(self, effect: str, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        if effect not in self._channels or self._channels[effect] is not channel:
            return  # it was given back when the connection was cut
        try:
            call = call_of(effect, body)
        except Malformed:
            structlog.get_logger().error("undecodable call moved to the dead letters", effect=effect, bytes=len(body))
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            takes = int((properties.headers or {}).get("x-delivery-count", 0))
            self.hands[effect].append(TakenCall(call, method.delivery_tag, channel, time.monotonic(), takes))

    def _put_back(self) -> None:
        """Behind what waits in the queue; it is there before it is gone here."""
        for hand in self.hands.values():
            while hand and time.monotonic() - hand[0].taken_at > HELD_SECONDS_MAX:
                self._calls.put([hand[0].call])
                self.settle(hand.popleft())

    def _on_cancel(self, _frame: Any) -> None:
        """The broker consumes a queue for us no more, it was deleted or its node is gone: begin anew, which declares it."""
        self._is_cancelled = True

    def _cut(self, error: BaseException) -> None:
        """Give up the connection and everything on it: the broker sees it end and returns all."""
        connection, self._connection = self._connection, None
        self._forget()
        trouble = unavailable(error)
        reason = str(trouble) if isinstance(trouble, WrongPassword) else repr(error)
        structlog.get_logger().warning("broker lost", host=self._parameters.host, port=self._parameters.port, reason=reason)
        self._connect_at = time.monotonic() + self._backoff.failed()
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except CONNECTION_ERRORS:
                return

    def _forget(self) -> None:
        self._is_cancelled = False
        self._channels.clear()
        for hand in self.hands.values():
            hand.clear()


def _nothing() -> None:
    """Wakes a thread that waits in process_data_events."""
