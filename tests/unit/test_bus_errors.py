"""What pika and the sockets say, in the words of the house: whoever puts, sends or asks hears Unavailable, and of whom."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from twofold.bus.rabbitmq import topology
from twofold.bus.rabbitmq.connection import AsyncChannel
from twofold.bus.rabbitmq.publisher import RabbitPublisher
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.testing.memory_bus import MemoryLaneEpochs

URL = "amqp://guest:guest@127.0.0.1:1/"
LOST: list[Exception] = [
    pika.exceptions.ChannelWrongStateError("closed"),
    pika.exceptions.ConnectionClosedByBroker(320, "shutdown"),
    pika.exceptions.StreamLostError("reset"),
    pika.exceptions.AMQPConnectionError("refused"),
    pika.exceptions.ChannelClosedByBroker(406, "precondition"),
]


class Broken:
    """A channel all of whose calls raise."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> None:
            raise self._error

        return call


def channel(error: Exception, blocked_since: float | None = None) -> Any:
    closed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    return SimpleNamespace(pika=Broken(error), closed=closed, blocked_since=blocked_since)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_publish_on_a_lost_channel_is_unavailable(error: Exception) -> None:
    publisher = RabbitPublisher(URL, MemoryLaneEpochs(1), "x")
    publisher._channel = channel(error)
    with pytest.raises(Unavailable) as refused:
        await publisher.publish(0, b"[]")
    assert (refused.value.neighbour, refused.value.is_overload) == (Neighbour.BROKER, False)
    assert refused.value.__cause__ is error


async def test_absence_and_an_alarm_read_differently() -> None:
    """Whoever is told "overloaded" slows down; whoever is told "not there" looks for another."""
    publisher = RabbitPublisher(URL, MemoryLaneEpochs(1), "x")
    with pytest.raises(Unavailable) as absent:
        await publisher.publish(0, b"[]")
    publisher._channel = channel(LOST[0], blocked_since=1.0)
    with pytest.raises(Unavailable) as blocked:
        await publisher.publish(0, b"[]")
    assert (absent.value.is_overload, blocked.value.is_overload) == (False, True)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_call_on_a_lost_channel_is_unavailable(error: Exception) -> None:
    connection = SimpleNamespace(
        add_on_connection_blocked_callback=lambda _: None, add_on_connection_unblocked_callback=lambda _: None
    )
    broken = AsyncChannel(connection, asyncio.get_running_loop().create_future())
    broken.pika = Broken(error)
    with pytest.raises(Unavailable, match="broker"):
        await broken.call("queue_declare", "x")


@pytest.mark.parametrize("error", [*LOST, ConnectionRefusedError("no"), TimeoutError("late"), OSError("route")], ids=repr)
def test_depths_of_a_broker_that_is_away_are_unavailable(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(pika, "BlockingConnection", refuse)
    with pytest.raises(Unavailable, match="broker"):
        topology.lane_depths(URL, "x", range(1))


@pytest.mark.parametrize("url", ["http://x", "amqp:/x", "", "amqp://x:port/", "redis://x"])
def test_what_is_not_an_amqp_url_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured, match="TWOFOLD_BROKER_URL"):
        topology.parameters(url, "test")
