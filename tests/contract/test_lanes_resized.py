"""Another number of lanes under load, on RabbitMQ: every accepted command once in its order, wherever whoever changes it dies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pika
import pytest

import twofold.bus.rabbitmq.epochs
import twofold.bus.rabbitmq.publisher
import twofold.bus.rabbitmq.resizing
import twofold.kernel.lanes
import twofold.testing.memory_bus
from tests.contract.buses import RabbitBus, Seen, envelope, put_all, until
from twofold.bus.dispatch.broker import LaneBroker, declare_execute, start_worker
from twofold.bus.outbox import Outbox
from twofold.bus.rabbitmq.epochs import connected, declare, end, retire
from twofold.bus.rabbitmq.resizing import Resizing
from twofold.bus.rabbitmq.topology import commands_exchange, lane_depths, lane_key, lane_queue
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import Unavailable
from twofold.kernel.lanes import Epoch, LaneState

STREAMS = [f"note-{number}" for number in range(24)]
KEPT_SECONDS = 0.5


class Died(Exception):
    """Whoever changes the lanes is no more."""


@pytest.fixture
def lanes(broker_url: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitBus]:
    monkeypatch.setattr(twofold.testing.memory_bus, "KEPT_SECONDS", KEPT_SECONDS)
    monkeypatch.setattr(twofold.bus.rabbitmq.resizing, "STEP_SECONDS", 0.3)
    found = RabbitBus(broker_url, unique)
    yield found
    found.close()


def resizing(lanes: RabbitBus) -> Resizing:
    return Resizing(lanes.epochs, lanes.url, lanes.prefix)


@contextmanager
def working(lanes: RabbitBus, execute: Callable[[Sequence[Envelope]], None]) -> Iterator[LaneBroker]:
    """A worker that holds every lane of the epoch that is to be worked on, and looks after the lanes."""
    broker, stop = lanes.broker(), threading.Event()
    declare_execute(broker, execute)

    def follow() -> None:
        while not stop.wait(0.05):
            broker.hold(lanes.epochs.state().working.lanes)

    threads = [threading.Thread(target=follow), threading.Thread(target=resizing(lanes).look_after, args=(stop,))]
    worker = start_worker(broker, 1)
    for thread in threads:
        thread.start()
    try:
        yield broker
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        worker.stop(timeout=10_000)
        broker.close()


class Clients:
    """Puts commands of every stream, one after another each, at either of two gateways. `accepted` in order of acceptance."""

    def __init__(self, gateways: Sequence[Outbox]) -> None:
        self.accepted: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        self._gateways = gateways
        self._is_over = False
        self._tasks = [asyncio.create_task(self._put(number, stream)) for number, stream in enumerate(STREAMS)]

    async def _put(self, number: int, stream: str) -> None:
        count = 0
        while not self._is_over:
            command_id = f"{stream}/{count:05}"
            await self._gateways[(number + count) % 2].put(envelope(command_id, stream))
            self.accepted[stream].append(command_id)
            count += 1
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


@contextmanager
def slow(seen: Seen) -> Iterator[Callable[[Sequence[Envelope]], None]]:
    """Executes so slowly that lanes are never empty."""

    def execute(envelopes: Sequence[Envelope]) -> None:
        time.sleep(0.05)
        seen(envelopes)

    yield execute


def resize(lanes: RabbitBus, count: int) -> None:
    for _ in resizing(lanes).resize(count):
        pass


def dies_before(step: str) -> Callable[[RabbitBus], None]:
    """He dies at the beginning of this step; what he had claimed is nobody else's for a moment."""

    def change(lanes: RabbitBus) -> None:
        def die(*_: object) -> None:
            raise Died

        kept = getattr(twofold.bus.rabbitmq.resizing, step)
        setattr(twofold.bus.rabbitmq.resizing, step, die)
        try:
            mine = resizing(lanes)
            lanes.epochs.open(8)
            while True:
                mine.step()
                time.sleep(0.02)
        finally:
            setattr(twofold.bus.rabbitmq.resizing, step, kept)

    return change


def dies_amid(step: str) -> Callable[[RabbitBus], None]:
    """He dies after the first of the old lanes had its part of this step."""

    def change(lanes: RabbitBus) -> None:
        lanes.epochs.open(8)
        assert lanes.epochs.claim(0.5)
        state = lanes.epochs.state()
        assert state.old is not None
        with connected(lanes.url, "test") as channel:
            declare(channel, lanes.prefix, lanes.epochs)
            if step == "end":
                end(channel, lanes.prefix, state.old.lanes[:1])
        raise Died

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lanes: resize(lanes, 8), id="to its end"),
        pytest.param(dies_before("declare"), id="before the fence"),
        pytest.param(dies_amid("fence"), id="after the fence"),
        pytest.param(dies_amid("end"), id="amid the last messages"),
    ],
)
async def test_every_accepted_command_is_executed_in_order_wherever_the_change_stops(
    lanes: RabbitBus, change: Callable[[RabbitBus], None]
) -> None:
    """Two gateways under load go from 4 lanes to 8. What was accepted in the old ones takes effect before anything of the new."""
    gateways, seen = [lanes.queue(), lanes.queue()], Seen()
    for gateway in gateways:
        await gateway.start()
    with slow(seen) as execute, working(lanes, execute):
        clients = Clients(gateways)
        await asyncio.to_thread(until, lambda: len(seen.ids) > 100, "the first commands")
        with suppress(Died):
            await asyncio.to_thread(change, lanes)
        await asyncio.to_thread(until, lambda: lanes.epochs.state().working == Epoch(1, 8), "the new epoch")
        before = len(seen.ids)
        await asyncio.to_thread(until, lambda: len(seen.ids) > before + 100, "commands in the new lanes")
        await clients.end()
        accepted = {each for some in clients.accepted.values() for each in some}
        await asyncio.to_thread(until, lambda: set(seen.ids) >= accepted, "every accepted command")
        await asyncio.to_thread(until, lambda: lanes.epochs.state() == LaneState(Epoch(1, 8)), "nothing left of the old lanes")
    for gateway in gateways:
        await gateway.close()
    for stream in STREAMS:
        assert seen.on(stream) == sorted(seen.on(stream)), "order"
    assert set(seen.ids) == accepted


async def test_a_gateway_that_heard_nothing_is_turned_away_by_the_broker(lanes: RabbitBus) -> None:
    """Nobody tells it; what it publishes into lanes that are over comes back, and goes to the new ones, in order."""
    gateway, seen = lanes.queue(), Seen()
    await gateway.start()
    await put_all(gateway, [envelope(f"a-{number:03}", STREAMS[0]) for number in range(3)])
    with working(lanes, seen):
        await asyncio.to_thread(resize, lanes, 8)
        await put_all(gateway, [envelope(f"b-{number:03}", STREAMS[0]) for number in range(3)])
        await asyncio.to_thread(until, lambda: len(seen.ids) == 6, "both")
    await gateway.close()
    assert seen.on(STREAMS[0]) == sorted(seen.on(STREAMS[0]))


async def test_nobody_takes_the_fence_down_again(lanes: RabbitBus) -> None:
    """A gateway or worker that connects late declares what the database says now, whatever it knew."""
    gateway = lanes.queue()
    await gateway.start()
    await gateway.put(envelope("a", STREAMS[0]))
    lanes.epochs.open(2)
    with connected(lanes.url, "test") as channel:
        declare(channel, lanes.prefix, lanes.epochs)
    late = lanes.queue()
    await late.start()
    await late.put(envelope("b", STREAMS[0]))
    await gateway.put(envelope("c", STREAMS[0]))
    for queue in (gateway, late):
        await queue.close()
    until(lambda: sum(depth(lanes, lane) for lane in Epoch(0, 4).lanes) == 1, "only the first in the old lanes")
    until(lambda: sum(depth(lanes, lane) for lane in Epoch(1, 2).lanes) == 2, "both others in the new ones")


async def test_what_came_in_beside_the_fence_is_moved(lanes: RabbitBus) -> None:
    """By a gateway of the version before, which puts into a queue by its name; or by a broker that took its time."""
    gateway, seen = lanes.queue(), Seen()
    await gateway.start()
    await gateway.put(envelope("first", STREAMS[0]))
    with working(lanes, seen):
        await asyncio.to_thread(until, lambda: seen.ids == ["first"], "the first")
        await asyncio.to_thread(resize, lanes, 2)
        await asyncio.sleep(KEPT_SECONDS / 4)
        lanes.put_raw(1, encode_batch([envelope(f"late {stream}", stream) for stream in STREAMS]))
        await asyncio.to_thread(until, lambda: len(seen.ids) == 1 + len(STREAMS), "those beside the fence")
        await asyncio.to_thread(until, lambda: lanes.epochs.state().old is None, "nothing left of the old lanes")
    await gateway.close()
    with pytest.raises(Unavailable), connected(lanes.url, "test") as channel:
        channel.queue_declare(lane_queue(lanes.prefix, 0), passive=True)


async def test_what_was_accepted_in_an_epoch_that_the_log_has_lost_is_executed(
    lanes: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica without the last commits was promoted: the gateway goes on in lanes that no worker has heard of."""
    monkeypatch.setattr(twofold.bus.rabbitmq.publisher, "LOOK_SECONDS", 0.2)
    with connected(lanes.url, "test") as channel:
        declare(channel, lanes.prefix, lanes.epochs)
        before = lanes.epochs.state()
        lanes.epochs.open(8)
        declare(channel, lanes.prefix, lanes.epochs)
    gateway, seen = lanes.queue(), Seen()
    await gateway.start()
    first = [envelope(f"a {stream}", stream) for stream in STREAMS]
    await put_all(gateway, first)
    lanes.epochs.lose(before)
    with working(lanes, seen):
        await put_all(gateway, [envelope(f"b {stream}", stream) for stream in STREAMS])
        await asyncio.to_thread(until, lambda: len(seen.ids) == 2 * len(STREAMS), "what was accepted before and after")
        await asyncio.to_thread(until, lambda: lanes.epochs.state() == before, "nothing left of the lost epoch")
    await gateway.close()
    assert all(seen.on(stream) == [f"a {stream}", f"b {stream}"] for stream in STREAMS)


def test_nothing_gets_into_a_lane_while_it_is_emptied_for_good(lanes: RabbitBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was stopped while he bound it has taken the fence down: what came between the last look and the end was lost."""
    lanes.epochs.open(2)
    emptied = []
    with connected(lanes.url, "test") as channel:
        declare(channel, lanes.prefix, lanes.epochs)
        channel.queue_bind(lane_queue(lanes.prefix, 1), commands_exchange(lanes.prefix), lane_key(1))
        lanes.put_raw(1, encode_batch([envelope("late", STREAMS[0])]))

        def moved(*_: object) -> int:
            with pytest.raises(pika.exceptions.UnroutableError):
                channel.basic_publish(commands_exchange(lanes.prefix), lane_key(1), b"[]", mandatory=True)
            emptied.append(1)
            return 1

        monkeypatch.setattr(twofold.bus.rabbitmq.epochs, "_moved", moved)
        retire(channel, lanes.prefix, Epoch(0, 4), Epoch(1, 2))
    assert emptied == [1]


async def test_a_lane_deleted_while_it_is_drained_holds_nobody_up(lanes: RabbitBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its queue its last message is gone, too: it gets another one."""
    monkeypatch.setattr(twofold.bus.rabbitmq.resizing, "END_SECONDS", 1.0)
    gateway, seen = lanes.queue(), Seen()
    await gateway.start()
    await gateway.put(envelope("first", STREAMS[0]))
    lanes.epochs.open(2)
    resizing(lanes).step()
    with connected(lanes.url, "test") as channel:
        channel.queue_delete(lane_queue(lanes.prefix, 3))
    with working(lanes, seen):
        await asyncio.to_thread(until, lambda: lanes.epochs.state().working == Epoch(1, 2), "the new epoch")
        await gateway.put(envelope("second", STREAMS[0]))
        await asyncio.to_thread(until, lambda: "second" in seen.ids, "the second")
    await gateway.close()


def depth(lanes: RabbitBus, lane: int) -> int:
    return sum(lane_depths(lanes.url, lanes.prefix, [lane]).values())
