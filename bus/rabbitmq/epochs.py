"""The broker's part in changing the number of lanes. Each step may be repeated, by anybody, at any time.

    declare   the newest epoch's lanes are there and bound; no message finds its way into the one before any more
    end       the last message is in each lane of the one before
    retire    what came in beside the fence is moved to the newest epoch; the queues are deleted

Whoever publishes into an epoch has called `declare` first: so the fence is up before the first message of the newest epoch,
and what was accepted in the one before was accepted before anything in this one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel

from twofold.bus.publishing import regrouped
from twofold.bus.rabbitmq.topology import (
    END,
    NOT_FOUND,
    commands_exchange,
    lane_arguments,
    lane_key,
    lane_queue,
    parameters,
    queues,
    unavailable,
)
from twofold.kernel.envelope import Envelope, decode_batch, encode_batch
from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.kernel.lanes import LANES_MAX, Epoch, LaneEpochs

ROUTED_SECONDS = 0.25
"""How long the broker may take to put what it has routed before the fence was up into its queue. What takes longer is not lost:
`retire` moves it."""
QUIET_SECONDS = 0.5
"""A lane that has had nothing for so long, to its only consumer, is empty."""
PERSISTENT = 2
OPENED_MEANWHILE_MAX = 10


@contextmanager
def connected(url: str, purpose: str) -> Iterator[BlockingChannel]:
    """A channel with confirms on a connection of its own. Raises Unavailable for whatever goes wrong with the broker."""
    try:
        with pika.BlockingConnection(parameters(url, purpose)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
    except (pika.exceptions.AMQPError, OSError) as error:
        raise unavailable(error) from error


def declare(channel: BlockingChannel, prefix: str, epochs: LaneEpochs) -> Epoch:
    """The newest epoch, whose lanes are declared and bound. Those of the one before are fenced off: declared, but not bound.

    Bound while the epoch is pinned: else somebody who was late could take the fence around it down. Raises Unavailable while an
    epoch is taken back: one that has queues, and that the log knows nothing of, although it is written there first.
    """
    channel.exchange_declare(commands_exchange(prefix), "direct", durable=True)
    for _ in range(OPENED_MEANWHILE_MAX):
        is_lost = _found(channel, lane_queue(prefix, (after := epochs.state().newest.number + 1) * LANES_MAX)) is not None
        before = epochs.state()
        if is_lost and before.newest.number < after:
            structlog.get_logger().error("the log has lost an epoch of lanes, which is taken back", epoch=after)
            epochs.take_back(after)
        _declare_queues(channel, prefix, [*before.working.lanes, *before.newest.lanes])
        with epochs.pinned() as state:
            if state.newest == before.newest:
                for lane in state.newest.lanes:
                    channel.queue_bind(lane_queue(prefix, lane), commands_exchange(prefix), lane_key(lane))
        if state.newest == before.newest:
            if state.is_taking_back:
                raise Unavailable(Neighbour.LANES, "an epoch is taken back")
            for lane in state.old.lanes if state.old else ():
                channel.queue_unbind(lane_queue(prefix, lane), commands_exchange(prefix), lane_key(lane))
            return state.newest
    raise Unavailable(Neighbour.LANES, "opened too often")


def end(channel: BlockingChannel, prefix: str, lanes: Iterable[int]) -> None:
    """Put its last message into each of these lanes, which are fenced off."""
    time.sleep(ROUTED_SECONDS)
    last = pika.BasicProperties(delivery_mode=PERSISTENT, content_type="application/json", type=END)
    for lane in lanes:
        channel.queue_declare(lane_queue(prefix, lane), durable=True, arguments=lane_arguments(prefix))
        channel.basic_publish("", lane_queue(prefix, lane), encode_batch([]), last, mandatory=True)


def retire(channel: BlockingChannel, prefix: str, old: Epoch, newest: Epoch) -> None:
    """Leave nothing of an epoch that is over. Raises Unavailable while somebody still consumes one of its lanes.

    The fence is put up once more: whoever was stopped while he bound them, for longer than he may pin an epoch, took it down.
    Before there were epochs, whoever was given another count of lanes began with it: those beyond the last are looked for.
    """
    channel.exchange_declare(commands_exchange(prefix), "direct", durable=True)
    for lane in range(old.lanes.start, old.lanes.start + LANES_MAX):
        queue = lane_queue(prefix, lane)
        found = _found(channel, queue)
        if found is None and lane in old.lanes:
            continue
        if found is None:
            return
        if found.consumer_count:
            raise Unavailable(Neighbour.LANES, "a lane that is over is still consumed")
        channel.queue_unbind(queue, commands_exchange(prefix), lane_key(lane))
        if found.message_count and (moved := _moved(channel, prefix, queue, newest)):
            structlog.get_logger().warning("moved what came into a lane that was over", queue=queue, commands=moved)
        channel.queue_delete(queue)


def _declare_queues(channel: BlockingChannel, prefix: str, lanes: Iterable[int]) -> None:
    for queue, arguments in queues(prefix, lanes).items():
        channel.queue_declare(queue, durable=True, arguments=arguments)


def _found(channel: BlockingChannel, queue: str) -> Any:
    """What the broker tells about a queue; None when it does not exist. On a channel of its own: a refusal closes it."""
    asking = channel.connection.channel()
    try:
        return asking.queue_declare(queue, passive=True).method
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return None
    finally:
        if asking.is_open:
            asking.close()


def _moved(channel: BlockingChannel, prefix: str, queue: str, newest: Epoch) -> int:
    """How many commands were moved from this queue to the lanes of the newest epoch: each is there before it is gone here."""
    count = 0
    for method, properties, body in channel.consume(queue, inactivity_timeout=QUIET_SECONDS):
        if method is None:
            break
        try:
            envelopes = [] if properties.type == END else decode_batch(body)
        except Malformed:
            channel.basic_reject(method.delivery_tag, requeue=False)
            continue
        for lane, some in regrouped(envelopes, newest).items():
            _publish(channel, prefix, lane, some)
        channel.basic_ack(method.delivery_tag)
        count += len(envelopes)
    channel.cancel()
    return count


def _publish(channel: BlockingChannel, prefix: str, lane: int, envelopes: list[Envelope]) -> None:
    properties = pika.BasicProperties(delivery_mode=PERSISTENT, content_type="application/json")
    channel.basic_publish(commands_exchange(prefix), lane_key(lane), encode_batch(envelopes), properties, mandatory=True)
