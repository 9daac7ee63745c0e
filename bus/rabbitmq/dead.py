"""The dead letters on the broker: looked through by turning the queue once around.

Each message is published again behind the others, and only then settled: what is merely looked at and returned would be
counted as delivered once more, and newer brokers drop a message that was delivered too often. A crash amid a turn leaves a
message there twice, which is one letter, and replayed twice has one effect.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from twofold.bus.rabbitmq.topology import NOT_FOUND, dead_queue, parameters, unavailable
from twofold.kernel.effects import decode_call
from twofold.kernel.envelope import decode_batch
from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.kernel.letters import LETTERS_MAX, DeadLetter, letter_id

EFFECTS = ".effect."
"""Stands in the name of every queue of calls to the outside."""
WHY, WHERE, WHEN = "twofold-reason", "twofold-lane", "twofold-died-at"
"""Headers that keep what the broker said of a death: its own are written anew when a message is published again."""


class RabbitDeadLetters:
    """Port DeadLetters. A connection for each call; thread-safe."""

    def __init__(self, url: str, prefix: str) -> None:
        self._parameters = parameters(url, "dead letters")
        self._queue = dead_queue(prefix)

    def letters(self, limit: int = LETTERS_MAX) -> list[DeadLetter]:
        found: dict[str, DeadLetter] = {}

        def look(letter: DeadLetter) -> bool:
            if len(found) < limit:
                found.setdefault(letter.id, letter)
            return True

        self._turn(look)
        return list(found.values())

    def take_out(self, letter_id: str, use: Callable[[DeadLetter], None]) -> bool:
        taken: list[DeadLetter] = []

        def look(letter: DeadLetter) -> bool:
            if letter.id != letter_id:
                return True
            if not taken:
                use(letter)
                taken.append(letter)
            return False

        self._turn(look)
        return bool(taken)

    def _turn(self, is_kept: Callable[[DeadLetter], bool]) -> None:
        """Once around: every message that is there now, in order."""
        try:
            with pika.BlockingConnection(self._parameters) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                for _ in range(channel.queue_declare(self._queue, passive=True).method.message_count):
                    if not self._next(channel, is_kept):
                        return
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND:
                raise Unavailable(Neighbour.BROKER) from error
        except (pika.exceptions.AMQPError, OSError) as error:
            raise unavailable(error) from error

    def _next(self, channel: BlockingChannel, is_kept: Callable[[DeadLetter], bool]) -> bool:
        method, properties, body = channel.basic_get(self._queue)
        if method is None:
            return False
        letter = _letter(properties.headers or {}, body)
        failure: Exception | None = None
        try:
            is_left = is_kept(letter)
        except Exception as error:  # not returned: that would be a delivery, of which newer brokers allow twenty
            is_left, failure = True, error
        if is_left:
            died_at = letter.died_at.isoformat() if letter.died_at else ""
            headers = {WHY: letter.reason, WHERE: letter.lane, WHEN: died_at}
            kept = pika.BasicProperties(delivery_mode=2, headers=headers)
            channel.basic_publish("", self._queue, body, kept, mandatory=True)
        channel.basic_ack(method.delivery_tag)
        if failure is not None:
            raise failure
        return True


def _letter(headers: dict[str, Any], body: bytes) -> DeadLetter:
    if WHY in headers:
        died_at = datetime.fromisoformat(headers[WHEN]) if headers.get(WHEN) else None
        return DeadLetter(letter_id(body), str(headers.get(WHERE, "")), str(headers[WHY]), died_at, body)
    death: dict[str, Any] = next(iter(headers.get("x-death") or []), {})
    died_at = death.get("time")
    reason = str(death.get("reason", "unknown"))
    queue = str(death.get("queue", ""))
    return DeadLetter(
        letter_id(body),
        queue,
        _undecodable(queue, body) if reason == REJECTED else REASONS.get(reason, reason),
        died_at.replace(tzinfo=UTC) if died_at else None,
        body,
    )


def _undecodable(queue: str, body: bytes) -> str:
    """Workers reject nothing else; the broker keeps no word of theirs, but what they saw can be seen again."""
    try:
        (decode_call if EFFECTS in queue else decode_batch)(body)
    except Malformed as error:
        return f"cannot be decoded: {error.detail}"
    return "could not be decoded by whoever rejected it"


REJECTED = "rejected"
REASONS = {"delivery_limit": "delivered too often"}
"""The broker's words in ours."""
