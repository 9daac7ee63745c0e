"""RabbitMQ's side of the bus, as the roof asks for it: the gateway's queue, the workers' broker, the depth of the lanes."""

from __future__ import annotations

import pika

from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.dispatch.lanes import Lanes
from twofold.bus.dispatch.transport import Transport
from twofold.bus.outbox import Outbox
from twofold.bus.rabbitmq.publisher import RabbitPublisher
from twofold.bus.rabbitmq.topology import dead_queue, lane_queue, parameters
from twofold.bus.rabbitmq.transport import RabbitTransport
from twofold.kernel.errors import Neighbour, Unavailable

NOT_FOUND = 404


def command_queue(url: str, lanes: int, prefix: str) -> Outbox:
    """The gateway's end. `await start()` and `await close()` it on the loop that uses it. Raises Misconfigured for a bad URL."""
    return Outbox(RabbitPublisher(url, lanes, prefix), lanes)


class RabbitBroker(LaneBroker):
    """The workers' end. Connects when Dramatiq's worker starts."""

    def __init__(self, url: str, lanes: int, prefix: str) -> None:
        super().__init__(lanes)
        self._url = url
        self._prefix = prefix

    def transport(self, lanes: Lanes) -> Transport:
        return RabbitTransport(self._url, self._lane_count, self._prefix, lanes)


def lane_depths(url: str, prefix: str, lanes: int) -> dict[str, int]:
    """Messages that wait in each lane ("0", "1", …) and in the dead letters ("dead"); 0 for a queue that does not exist yet.

    What workers hold is not counted. Raises Unavailable.
    """
    names = {str(lane): lane_queue(prefix, lane) for lane in range(lanes)} | {"dead": dead_queue(prefix)}
    depths = dict.fromkeys(names, 0)
    try:
        with pika.BlockingConnection(parameters(url, "depths")) as connection:
            channel = connection.channel()
            for name, queue in names.items():
                try:
                    depths[name] = channel.queue_declare(queue, passive=True).method.message_count
                except pika.exceptions.ChannelClosedByBroker as error:
                    if error.reply_code != NOT_FOUND:
                        raise
                    channel = connection.channel()
    except (pika.exceptions.AMQPError, OSError) as error:
        raise Unavailable(Neighbour.BROKER) from error
    return depths
