"""What a deployment leaves behind on servers that are shared: queues, an exchange, keys."""

from __future__ import annotations

import pika
import redis

from twofold.bus.effects.topology import LATER_SECONDS, effect_queues, later
from twofold.bus.rabbitmq.topology import commands_exchange, queues, rings_exchange
from twofold.eventstore.identity import FIRST_LANES
from twofold.kernel.domain import load_domain


def clean(broker_url: str, redis_url: str, namespace: str, lanes: int = FIRST_LANES) -> None:
    """Delete everything of this namespace; `redis_url` is "" where none was used."""
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        for queue in queues(namespace, range(lanes)):
            channel.queue_delete(queue)
        for queue in effect_queues(namespace, load_domain("twofold.shop").effects):
            channel.queue_delete(queue)
        for seconds in LATER_SECONDS:
            channel.exchange_delete(later(namespace, seconds))
        channel.exchange_delete(rings_exchange(namespace))
        channel.exchange_delete(commands_exchange(namespace))
    if not redis_url:
        return
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"*{namespace}*", count=1_000):
            client.delete(key)
