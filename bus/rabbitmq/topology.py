"""What the bus calls and declares on RabbitMQ. Names and arguments are on the broker's disk and never change.

{prefix}.commands         direct exchange, bound to the lanes by "{epoch}.{n}"
{prefix}.lane.{epoch}.{n} quorum queue, commands in order; of epoch 0: {prefix}.lane.{n}
{prefix}.dead             quorum queue, what nobody could decode, kept for ever
{prefix}.rings            direct exchange: appended, advanced; and, of releases before 0.2, ring, outcomes
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pika

from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable, WrongPassword
from twofold.kernel.lanes import place_of
from twofold.kernel.outcome import Outcome
from twofold.kernel.rows import Progress

PREFETCH_MESSAGES = 64
"""Messages of one lane in a worker's hands. All workers of a deployment must use the same number: what a dead worker held
is put back in order behind what an earlier one held, so a successor has to take all of it at once (docs of the consumer)."""

DELIVERIES_MAX = 100
"""After so many take-overs without an ack a message is taken to be what kills its workers, and goes to the dead letters."""

HEARTBEAT_SECONDS = 5
"""A peer that is silent for two of these is gone: how long a stopped worker can keep a lane."""

SOCKET_SECONDS_MAX = 5.0
OPEN_SECONDS_MAX = 10.0
BLOCKED_SECONDS_MAX = 60.0

NOT_FOUND = 404


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker tells after its commit: the log has reached `position` (0: nothing is said of it), and what was decided."""

    position: int = 0
    outcomes: list[Outcome] = []


APPENDED, ADVANCED = "appended", "advanced"
RING, OUTCOMES = "ring", "outcomes"
"""The two halves of what is `appended`, told apart by releases before 0.2: still heard, since those may run beside this one."""
NEWS: dict[str, Any] = {APPENDED: News, ADVANCED: list[Progress], RING: int, OUTCOMES: list[Outcome]}
"""Routing keys of the rings' exchange, on the broker; and what a message of each is, in JSON."""

RING_QUEUE_MESSAGES_MAX = 1_000
RING_QUEUE_ARGUMENTS: dict[str, Any] = {"x-max-length": RING_QUEUE_MESSAGES_MAX, "x-overflow": "drop-head"}

DEAD_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum"}


END = "end"
"""Type of the message that is a lane's last: nothing was accepted into it behind it. An empty batch to those who do not know."""


def lane_queue(prefix: str, lane: int) -> str:
    epoch, place = place_of(lane)
    return f"{prefix}.lane.{epoch}.{place}" if epoch else f"{prefix}.lane.{place}"


def lane_key(lane: int) -> str:
    """What binds a lane to the exchange of commands."""
    return "{}.{}".format(*place_of(lane))


def commands_exchange(prefix: str) -> str:
    return f"{prefix}.commands"


def dead_queue(prefix: str) -> str:
    return f"{prefix}.dead"


def rings_exchange(prefix: str) -> str:
    return f"{prefix}.rings"


def lane_arguments(prefix: str) -> dict[str, Any]:
    """Dead letters move only when the dead queue has them on disk, for which overflow must refuse rather than drop."""
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": DELIVERIES_MAX,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue(prefix),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def queues(prefix: str, lanes: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Every durable queue with its arguments, the dead letters first: lanes point at them."""
    declared = {dead_queue(prefix): DEAD_ARGUMENTS}
    return declared | {lane_queue(prefix, lane): lane_arguments(prefix) for lane in lanes}


def parameters(url: str, purpose: str) -> pika.URLParameters:
    """Connection parameters; the management console shows `purpose`. Raises Misconfigured for what is not an AMQP URL."""
    try:
        if not url.startswith(("amqp://", "amqps://")):
            raise ValueError("scheme")
        found = pika.URLParameters(url)
    except (ValueError, TypeError) as error:
        raise Misconfigured("TWOFOLD_BROKER_URL: is not an AMQP URL; write amqp://user:password@host:5672/") from error
    found.heartbeat = HEARTBEAT_SECONDS
    found.socket_timeout = SOCKET_SECONDS_MAX
    found.stack_timeout = OPEN_SECONDS_MAX
    found.blocked_connection_timeout = BLOCKED_SECONDS_MAX
    found.connection_attempts = 1
    found.client_properties = {"connection_name": f"twofold {purpose}"}
    return found


def unavailable(error: BaseException, reason: str = "no answer") -> Unavailable:
    """What an error of the connection means, to be raised from it."""
    if isinstance(error, pika.exceptions.ProbableAuthenticationError | pika.exceptions.AuthenticationError):
        return WrongPassword(Neighbour.BROKER, "TWOFOLD_BROKER_URL")
    return Unavailable(Neighbour.BROKER, reason)


def lane_depths(url: str, prefix: str, lanes: Iterable[int]) -> dict[str, int]:
    """Messages that wait in each lane ("0", "1", …, whatever the epoch) and in the dead letters ("dead"); 0 for a queue that does
    not exist yet.

    What workers hold is not counted. Raises Unavailable.
    """
    names = [(str(place_of(lane)[1]), lane_queue(prefix, lane)) for lane in lanes] + [("dead", dead_queue(prefix))]
    depths = {name: 0 for name, _ in names}
    try:
        with pika.BlockingConnection(parameters(url, "depths")) as connection:
            channel = connection.channel()
            for name, queue in names:
                try:
                    depths[name] += channel.queue_declare(queue, passive=True).method.message_count
                except pika.exceptions.ChannelClosedByBroker as error:
                    if error.reply_code != NOT_FOUND:
                        raise
                    channel = connection.channel()
    except (pika.exceptions.AMQPError, OSError) as error:
        raise unavailable(error) from error
    return depths
