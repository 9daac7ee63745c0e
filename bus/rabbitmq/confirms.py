"""Which published messages the broker has yet to confirm. Confirms may come out of order, and many at once.

Fed by the publisher's channel: acks, nacks and returned messages. A returned message is confirmed too, right after it came
back: its place is kept by its message id, which is its delivery tag.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pika

from twofold.kernel.errors import Neighbour, Unavailable


class Confirms:
    """One channel's outstanding confirms. Delivery tags count from 1, in the order of publishing."""

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
