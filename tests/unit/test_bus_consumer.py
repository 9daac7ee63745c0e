"""When a consumer lets a lane go, and how it comes back to a broker that is away. The clock is the tests'; ports are real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import dramatiq
import msgspec
import pika
import pytest
from structlog.testing import capture_logs

from tests.named import id_of
from tests.servers.server import free_port
from twofold.bus.dispatch.broker import LEAVE_SECONDS_MAX, QUEUE, LaneConsumer
from twofold.bus.dispatch.lanes import Lanes
from twofold.bus.embedded.transport import EmbeddedBroker
from twofold.bus.rabbitmq import connection
from twofold.bus.rabbitmq.topology import parameters, unavailable
from twofold.bus.rabbitmq.transport import RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN, RabbitTransport
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import WrongPassword
from twofold.testing.memory_bus import MemoryLaneEpochs
from twofold.testing.memory_lanes import MemoryLaneTable

LONG_SECONDS = 30.0


class Clock:
    """`time.monotonic` of the modules named."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        self.seconds = 1_000.0
        for module in modules:
            monkeypatch.setattr(f"twofold.bus.{module}.time", SimpleNamespace(monotonic=lambda: self.seconds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "dispatch.broker", "rabbitmq.transport")


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(MemoryLaneTable())
    put(broker, 0)
    broker.declare_queue(QUEUE)
    yield broker
    broker.close()


def put(broker: EmbeddedBroker, lane: int) -> None:
    envelope = Envelope(id_of(f"on-{lane}"), "Note", f"note-{lane}", msgspec.Raw(b"{}"), "f", datetime(2026, 1, 1, tzinfo=UTC))
    broker._lane_table.put([(lane, encode_batch([envelope]))])


def delivered(consumer: LaneConsumer) -> dramatiq.MessageProxy:
    message = next(consumer) or next(consumer)
    assert message is not None
    return message


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_is_in_flight_than_there_are_threads(broker: EmbeddedBroker, threads: int) -> None:
    """What waits here merges; what waits for a thread does not."""
    consumer = broker.consume(QUEUE, prefetch=2 * threads, timeout=0)
    broker.hold(range(3))
    next(consumer)
    first = delivered(consumer)
    for lane in range(1, threads + 1):
        assert consumer._in_flight == lane
        put(broker, lane)
        message = next(consumer) or next(consumer)
        assert (message is not None) == (lane < threads)
    consumer.ack(first)
    assert delivered(consumer).args[0].lanes == [threads]


def test_a_lane_that_is_lost_while_in_flight_stays_open_until_it_is_finished(broker: EmbeddedBroker, clock: Clock) -> None:
    """What is committed in time is settled, and is no duplicate for the next one who holds the lane."""
    consumer = broker.consume(QUEUE, timeout=0)
    broker.hold([0, 1])
    next(consumer)
    message = delivered(consumer)
    broker.hold([1])
    clock.seconds += LEAVE_SECONDS_MAX
    next(consumer)
    assert set(consumer._transport.opened) == {0, 1}
    message.args[0].is_committed = True
    consumer.ack(message)
    next(consumer)
    assert set(consumer._transport.opened) == {1} and broker._lane_table.depths() == {}


@pytest.mark.parametrize("meanwhile", [(), (1,)])
def test_a_lane_that_is_lost_is_not_kept_for_ever(broker: EmbeddedBroker, clock: Clock, meanwhile: tuple[int, ...]) -> None:
    """Nor is its term counted from an earlier loss; and a lane without anything in flight goes at once."""
    consumer = broker.consume(QUEUE, timeout=0)
    broker.hold([0, 1])
    next(consumer)
    delivered(consumer)
    broker.hold(meanwhile)
    next(consumer)
    assert set(consumer._transport.opened) == {0, *meanwhile}
    clock.seconds += LEAVE_SECONDS_MAX - 1
    broker.hold([0])
    next(consumer)
    broker.hold([1])
    next(consumer)
    clock.seconds += LEAVE_SECONDS_MAX
    next(consumer)
    assert set(consumer._transport.opened) == {0, 1}
    clock.seconds += 0.001
    next(consumer)
    assert set(consumer._transport.opened) == {1}


def test_a_broker_that_is_away_is_asked_ever_more_rarely(clock: Clock) -> None:
    """Not at all before its pause is over, and then once."""
    transport = RabbitTransport(f"amqp://127.0.0.1:{free_port()}/", MemoryLaneEpochs(1), "t", Lanes())
    pause = RECONNECT_SECONDS_MIN
    with capture_logs() as logs:
        transport.receive(0.0)
        for tries in range(1, 9):
            assert len(logs) == tries
            clock.seconds += pause * 0.9
            transport.receive(0.0)
            assert len(logs) == tries, "asked before its pause was over"
            clock.seconds += pause * 0.1 + 1e-6
            transport.receive(0.0)
            pause = min(RECONNECT_SECONDS_MAX, pause * 2)
    assert {log["event"] for log in logs} == {"broker lost"} and pause == RECONNECT_SECONDS_MAX


async def test_a_password_that_the_broker_refuses_is_told_once_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind an outage that was told: it is another trouble, which somebody has to mend."""
    wrong = unavailable(pika.exceptions.ProbableAuthenticationError("no"))
    troubles = [unavailable(OSError("gone")), unavailable(OSError("still")), wrong, wrong, unavailable(OSError("gone"))]
    over = asyncio.Event()

    async def refuse(_: object) -> connection.AsyncChannel:
        if not troubles:
            over.set()
            await asyncio.sleep(LONG_SECONDS)
        raise troubles.pop(0)

    monkeypatch.setattr(connection.AsyncChannel, "open", refuse)
    monkeypatch.setattr(connection, "RECONNECT_SECONDS_MAX", 0.01)

    async def use(_: connection.AsyncChannel) -> None: ...

    with capture_logs() as logs:
        connecting = asyncio.create_task(connection.keep_connected(parameters("amqp://127.0.0.1/", "test"), use))
        await asyncio.wait_for(over.wait(), LONG_SECONDS)
        connecting.cancel()
    assert [log["event"] for log in logs] == ["broker lost"] * 2
    assert logs[1]["reason"] == "broker: wrong password (TWOFOLD_BROKER_URL: its user or password is refused)"
    assert isinstance(wrong, WrongPassword)


def test_the_pause_is_waited_for_no_longer_than_asked_and_no_longer_than_it_lasts(clock: Clock) -> None:
    """The consumer's thread has other things to do, and the broker may be back."""
    transport = RabbitTransport(f"amqp://127.0.0.1:{free_port()}/", MemoryLaneEpochs(1), "t", Lanes())
    transport.receive(0.0)
    began = time.monotonic()
    transport.receive(LONG_SECONDS)
    assert RECONNECT_SECONDS_MIN * 0.9 <= time.monotonic() - began < LONG_SECONDS / 2
    for _ in range(8):
        clock.seconds += RECONNECT_SECONDS_MAX + 1
        transport.receive(0.0)
    began = time.monotonic()
    transport.receive(0.01)
    assert time.monotonic() - began < RECONNECT_SECONDS_MAX * 0.9
    transport.wake()
    transport.receive(LONG_SECONDS)
    assert time.monotonic() - began < RECONNECT_SECONDS_MAX * 0.9, "woken, it waits no more"
    began = time.monotonic()
    transport.receive(0.2)
    assert time.monotonic() - began >= 0.15, "woken once, it waits again"
