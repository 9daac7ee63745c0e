"""What effects have on RabbitMQ. Names and arguments are on the broker's disk and never change.

{prefix}.effect.{name}           quorum queue, calls of one effect, in no order
{prefix}.effects.later.{seconds} fanout exchange and quorum queue: calls whose next try is at most so many seconds away

A delay is a time to live: a call expires in a queue of `later`, and its dead letter goes, by the routing key it was published
with, to the queue of its effect; not before that one has it on disk ("at least once", RabbitMQ 3.10). Messages expire at the
head of a queue only, so what is to wait for a second does not stand behind what waits for a minute: each queue is for one length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel

from twofold.bus.rabbitmq.topology import DEAD_ARGUMENTS, DELIVERIES_MAX, dead_queue

LATER_SECONDS = (1, 4, 16, 64)


def effect_queue(prefix: str, effect: str) -> str:
    return f"{prefix}.effect.{effect}"


def effect_of(prefix: str, queue: str) -> str | None:
    """The effect whose queue this is; None when it is no effect's."""
    start = effect_queue(prefix, "")
    return queue.removeprefix(start) if queue.startswith(start) else None


def later(prefix: str, delay_seconds: float) -> str:
    """The exchange, and the queue, for calls that wait so long."""
    fitting = next((seconds for seconds in LATER_SECONDS if delay_seconds <= seconds), LATER_SECONDS[-1])
    return f"{prefix}.effects.later.{fitting}"


def effect_arguments(prefix: str) -> dict[str, Any]:
    """Dead letters move only when the dead queue has them on disk, for which overflow must refuse rather than drop."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERIES_MAX,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue(prefix),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def later_arguments() -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def effect_queues(prefix: str, effects: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Every durable queue with its arguments, in the order in which they point at each other."""
    declared = {dead_queue(prefix): DEAD_ARGUMENTS}
    declared |= {effect_queue(prefix, effect): effect_arguments(prefix) for effect in effects}
    return declared | {later(prefix, seconds): later_arguments() for seconds in LATER_SECONDS}


def declare_effects_on(channel: BlockingChannel, prefix: str, effects: Iterable[str]) -> None:
    """May be repeated, by anybody, at any time."""
    for queue, arguments in effect_queues(prefix, effects).items():
        channel.queue_declare(queue, durable=True, arguments=arguments)
    for seconds in LATER_SECONDS:
        name = later(prefix, seconds)
        channel.exchange_declare(name, "fanout", durable=True)
        channel.queue_bind(name, name)
