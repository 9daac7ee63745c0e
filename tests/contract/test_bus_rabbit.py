"""What the bus promises on RabbitMQ beyond the common suite: settles bound to a channel, take-overs, a broker that is away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from threading import Event

import pika
import pytest

import twofold.bus.outbox
import twofold.bus.rabbitmq.publisher
import twofold.bus.rabbitmq.topology
import twofold.bus.rabbitmq.transport
from tests.contract.buses import LANES, Proxy, RabbitBus, Seen, envelope, put_all, stream_on, until, working
from tests.named import name_of
from tests.servers import Servers
from twofold.bus.dispatch.lanes import Lanes
from twofold.bus.rabbitmq.transport import RabbitTransport
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import Misconfigured, Unavailable
from twofold.testing.memory_bus import MemoryLaneEpochs


@pytest.fixture
def lanes(broker_url: str, unique: str) -> Iterator[RabbitBus]:
    found = RabbitBus(broker_url, unique)
    yield found
    found.close()


@pytest.fixture
def proxy(broker_url: str) -> Iterator[Proxy]:
    found = Proxy(broker_url)
    yield found
    found.close()


async def test_a_settle_for_a_lost_connection_is_dropped(lanes: RabbitBus, proxy: Proxy, unique: str) -> None:
    """After a reconnect the same delivery tag names another delivery: an old ack would remove what was never executed."""
    queue, entered, leave = lanes.queue(), [Event() for _ in range(3)], [Event() for _ in range(3)]
    calls: list[list[str]] = []

    def execute(envelopes: Sequence[Envelope]) -> None:
        turn = len(calls)
        calls.append([name_of(each.command_id) for each in envelopes])
        if turn < 3:
            entered[turn].set()
            assert leave[turn].wait(30)

    await queue.start()
    await queue.put(envelope("one", stream_on(0)))
    await queue.close()
    with working(twofold.bus.rabbitmq.transport.RabbitBroker(proxy.url, lanes.epochs, unique), execute, lanes=[0]):
        assert await asyncio.to_thread(entered[0].wait, 10)
        before = proxy.accepted
        proxy.cut()
        await asyncio.to_thread(until, lambda: proxy.accepted > before, "the reconnect")
        await asyncio.sleep(0.3)  # redelivered by now, with the same tag, and waiting for the lane
        leave[0].set()
        assert await asyncio.to_thread(entered[1].wait, 10)
        assert calls == [["one"], ["one"]]
        proxy.cut()  # the second try dies unsettled, after the first one's ack would have counted
        leave[1].set()
        assert await asyncio.to_thread(entered[2].wait, 10), "the old ack removed the command"
        leave[2].set()
    assert calls[2] == ["one"]
    await asyncio.to_thread(until, lambda: lanes.depth(0) == 0, "the settled lane")


def test_a_lane_keeps_its_order_through_many_take_overs(lanes: RabbitBus, broker_url: str, unique: str) -> None:
    """The single active consumer with several messages in its hands, some settled, is closed, cut off or left to its
    successor, which waits already: what it held comes first, in order. 60 take-overs of every kind. What was settled just before
    a connection was cut may come again: the broker need not have read it."""
    total, settled, dice = 300, 0, random.Random(11)
    surely_settled = 0
    one = RabbitTransport(broker_url, lanes.epochs, unique, Lanes())
    one.receive(0.0)
    for number in range(total):
        lanes.put_raw(0, encode_batch([envelope(f"{number:04}", stream_on(0))]))
    one.open(0)
    for _ in range(60):
        two = RabbitTransport(broker_url, lanes.epochs, unique, Lanes())
        two.receive(0.0)
        two.open(0)
        take = dice.randint(0, 6)
        got: list[str] = []
        deadline = time.monotonic() + 10
        while len(got) < min(take, total - settled) and time.monotonic() < deadline:
            one.receive(0.02)
            delivery = one.lanes.next([0])
            if delivery is None:
                continue
            ids = [name_of(each.command_id) for each in delivery.envelopes]
            got += ids
            if len(got) == len(ids) and surely_settled <= int(got[0]) < settled:
                settled = int(got[0])
            assert got == [f"{settled + n:04}" for n in range(len(got))]
            delivery.messages = delivery.messages[:take]
            delivery.is_committed = True
            one.settle(one.lanes.finish(delivery))
        before, settled = settled, settled + min(len(got), take)
        surely_settled = settled
        match dice.choice(["close", "shut", "cut"]):
            case "close":
                one.close(0)
                one.receive(0.0)
            case "shut":
                one.shut()
            case "cut":
                one._cut(ConnectionResetError())
                surely_settled = before
        one = two
    one.shut()
    assert settled > 100


async def test_a_publish_through_a_cut_connection_is_accepted_only_when_durable(
    lanes: RabbitBus, proxy: Proxy, unique: str
) -> None:
    """A lost confirm says nothing: the same batch is published again, and no later one passes it."""
    queue = twofold.bus.rabbitmq.publisher.command_queue(proxy.url, lanes.epochs, unique)
    await queue.start()
    accepted: list[str] = []

    async def one_after_another(client: int) -> None:
        for number in range(60):
            await queue.put(envelope(f"{client}-{number:03}", stream_on(client)))
            accepted.append(f"{client}-{number:03}")

    clients = [asyncio.create_task(one_after_another(client)) for client in range(LANES)]
    for _ in range(5):
        await asyncio.sleep(0.15)
        proxy.cut()
    await asyncio.gather(*clients)
    await queue.close()
    seen = Seen()
    with working(lanes.broker(), seen):
        await asyncio.to_thread(until, lambda: set(seen.ids) >= set(accepted), "every accepted command")
    for client in range(LANES):
        assert seen.on(stream_on(client)) == [f"{client}-{number:03}" for number in range(60)]


async def test_a_broker_that_stays_away_is_said_so(
    lanes: RabbitBus, proxy: Proxy, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not accepted within its time is a 503, the door is shut meanwhile, and it opens again by itself."""
    monkeypatch.setattr(twofold.bus.outbox, "ACCEPT_SECONDS_MAX", 3.0)
    queue = twofold.bus.rabbitmq.publisher.command_queue(proxy.url, lanes.epochs, unique)
    await queue.start()
    await queue.put(envelope("one", stream_on(0)))
    assert queue.refusal() is None
    proxy.is_open = False
    proxy.cut()
    with pytest.raises(Unavailable):
        await queue.put(envelope("two", stream_on(0)))
    assert queue.refusal() is not None
    proxy.is_open = True
    deadline = time.monotonic() + 10
    while queue.refusal() is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await queue.put(envelope("three", stream_on(0)))
    await queue.close()
    seen = Seen()
    with working(lanes.broker(), seen):
        await asyncio.to_thread(until, lambda: "three" in seen.ids, "the command after it")
    assert [each for each in seen.ids if each != "two"] == ["one", "three"]


async def test_a_message_without_a_queue_is_not_accepted(lanes: RabbitBus, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker confirms a message it could not route; `mandatory` returns it first, and that counts."""
    monkeypatch.setattr(twofold.bus.outbox, "ACCEPT_SECONDS_MAX", 0.5)
    queue = lanes.queue()
    await queue.start()
    await queue.put(envelope("one", stream_on(0)))
    lanes.delete_queues()
    with pytest.raises(Unavailable):
        await queue.put(envelope("two", stream_on(0)))
    await queue.close()


async def test_a_lane_that_no_worker_declares_again_is_declared_by_who_fills_it(
    lanes: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twofold.bus.rabbitmq.publisher, "DECLARE_SECONDS", 0.3)
    queue = lanes.queue()
    await queue.start()
    await queue.put(envelope("one", stream_on(0)))
    lanes.delete_queues()
    await queue.put(envelope("two", stream_on(0)))
    await asyncio.to_thread(until, lambda: lanes.depth(0) == 1, "what was accepted is in the lane")
    await queue.close()


async def test_a_restart_of_the_broker_under_load_loses_nothing(servers: Servers, unique: str) -> None:
    """Stopped in order once, killed once, with commands arriving and being executed all the while."""
    with servers.private_rabbitmq() as server:
        lanes, seen, accepted = RabbitBus(server.url, unique), Seen(), list[str]()
        queue = lanes.queue()
        await queue.start()
        is_over = asyncio.Event()

        async def client(lane: int) -> None:
            number = 0
            while not is_over.is_set():
                command_id = f"{lane}-{number:05}"
                try:
                    await queue.put(envelope(command_id, stream_on(lane)))
                    accepted.append(command_id)
                except Unavailable:
                    await asyncio.sleep(0.2)
                number += 1

        with working(lanes.broker(), seen):
            clients = [asyncio.create_task(client(lane)) for lane in range(LANES)]
            await asyncio.to_thread(until, lambda: len(seen.ids) > 50, "the first commands")
            for end in (server.stop, server.kill):
                await asyncio.to_thread(end)
                await asyncio.to_thread(server.start)
                before = len(accepted)
                await asyncio.to_thread(until, lambda: len(accepted) > before + 50, "commands after it")  # noqa: B023
            is_over.set()
            await asyncio.gather(*clients)
            await asyncio.to_thread(until, lambda: set(seen.ids) >= set(accepted), "every accepted command")
        await queue.close()
        for lane in range(LANES):
            ids = [each for each in seen.on(stream_on(lane)) if each in set(accepted)]
            assert ids == sorted(ids)


def test_depths_count_what_waits(lanes: RabbitBus) -> None:
    """Monitoring asks before anything was ever declared, too."""
    assert twofold.bus.rabbitmq.topology.lane_depths(lanes.url, lanes.prefix, range(LANES)) == {
        "0": 0,
        "1": 0,
        "2": 0,
        "3": 0,
        "dead": 0,
    }

    async def put() -> None:
        queue = lanes.queue()
        await queue.start()
        await put_all(queue, [envelope("one", stream_on(3))])
        await queue.close()

    asyncio.run(put())
    until(lambda: lanes.depth(3) == 1, "the command", seconds=5)


def test_a_bad_url_is_misconfigured() -> None:
    with pytest.raises(Misconfigured):
        twofold.bus.rabbitmq.publisher.command_queue("http://127.0.0.1:5672", MemoryLaneEpochs(1), "x")
    with pytest.raises(Unavailable):
        twofold.bus.rabbitmq.topology.lane_depths("amqp://guest:guest@127.0.0.1:1/", "x", range(1))


async def test_the_two_private_calls_of_pika_that_a_hand_over_needs_are_there(broker_url: str, unique: str) -> None:
    """A lane is given up without `basic.cancel`, and a connection without closing: pika has no public way for either, so its
    release is pinned, and this names what a newer one must still have."""
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        inner = channel._impl
        for name in ("_closing_reason", "_set_state", "_rpc", "_on_closeok", "CLOSING"):
            assert hasattr(inner, name), f"channels without cancel are closed by Channel.{name}"
        assert hasattr(connection._impl, "_terminate_stream"), "connections are given up by Connection._terminate_stream"
        declared = channel.queue_declare(unique, exclusive=True)
        channel.basic_consume(unique, lambda *_: None)
        cancelled: list[object] = []
        inner.add_callback(cancelled.append, [pika.spec.Basic.CancelOk])
        twofold.bus.rabbitmq.transport._close_without_cancel(channel)
        connection.process_data_events(0.5)
        assert declared.method.queue == unique and inner.is_closed and not cancelled


async def test_a_lane_whose_queue_is_deleted_is_declared_and_consumed_again(lanes: RabbitBus) -> None:
    """By an operator's hand, or with a node that held it alone: what is put from then on must be executed, by itself."""
    queue, seen = lanes.queue(), Seen()
    await queue.start()
    with working(lanes.broker(), seen):
        await put_all(queue, [envelope("before", stream_on(0))])
        await asyncio.to_thread(until, lambda: "before" in seen.ids, "the first command")
        with pika.BlockingConnection(pika.URLParameters(lanes.url)) as connection:
            connection.channel().queue_delete(twofold.bus.rabbitmq.topology.lane_queue(lanes.prefix, 0))
        await put_all(queue, [envelope("after", stream_on(0)), envelope("beside", stream_on(1))])
        await asyncio.to_thread(until, lambda: {"after", "beside"} <= set(seen.ids), "those put after it was deleted")
    await queue.close()
