"""What a deployment leaves behind on servers that are shared: queues, an exchange, keys."""

from __future__ import annotations

import pika
import redis

from twofold.bus.rabbitmq.topology import commands_exchange, queues, rings_exchange
from twofold.eventstore.identity import FIRST_LANES


def clean(broker_url: str, redis_url: str, namespace: str, lanes: int = FIRST_LANES) -> None:
    """Delete everything of this namespace; `redis_url` is "" where none was used."""
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        for queue in queues(namespace, range(lanes)):
            channel.queue_delete(queue)
        channel.exchange_delete(rings_exchange(namespace))
        channel.exchange_delete(commands_exchange(namespace))
    if not redis_url:
        return
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"*{namespace}*", count=1_000):
            client.delete(key)
