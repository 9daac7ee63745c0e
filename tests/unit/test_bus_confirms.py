"""Confirms as a broker may send them: out of order, many at once, negative, and after a message came back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pika
import pytest

from twofold.bus.rabbitmq.publisher import Confirms
from twofold.kernel.errors import Unavailable


def ack(tag: int, multiple: bool = False) -> SimpleNamespace:
    return SimpleNamespace(method=pika.spec.Basic.Ack(tag, multiple))


def nack(tag: int, multiple: bool = False) -> SimpleNamespace:
    return SimpleNamespace(method=pika.spec.Basic.Nack(tag, multiple))


def expect(confirms: Confirms, count: int) -> list[asyncio.Future[None]]:
    return [confirms.expect()[1] for _ in range(count)]


def durable(futures: list[asyncio.Future[None]]) -> list[bool | None]:
    """None where nothing is known yet."""
    return [future.exception() is None if future.done() else None for future in futures]


async def test_confirms_out_of_order_and_for_many() -> None:
    confirms = Confirms()
    futures = expect(confirms, 5)
    confirms.on_confirm(ack(4))
    assert durable(futures) == [None, None, None, True, None]
    confirms.on_confirm(ack(3, multiple=True))
    assert durable(futures) == [True, True, True, True, None]
    confirms.on_confirm(ack(0, multiple=True))
    assert durable(futures) == [True] * 5
    assert len(confirms) == 0


async def test_a_refused_message_is_not_durable() -> None:
    """A full queue nacks; so does a broker with trouble of its own."""
    confirms = Confirms()
    futures = expect(confirms, 3)
    confirms.on_confirm(nack(2, multiple=True))
    confirms.on_confirm(ack(3))
    assert durable(futures) == [False, False, True]
    with pytest.raises(Unavailable):
        await futures[0]


async def test_a_returned_message_is_not_durable_although_it_is_confirmed() -> None:
    confirms = Confirms()
    futures = expect(confirms, 2)
    confirms.on_return(None, None, pika.BasicProperties(message_id="1"), b"")
    confirms.on_confirm(ack(2, multiple=True))
    assert durable(futures) == [False, True]


async def test_a_lost_connection_fails_what_is_unconfirmed() -> None:
    confirms = Confirms()
    futures = expect(confirms, 2)
    confirms.on_confirm(ack(1))
    confirms.fail_all()
    assert durable(futures) == [True, False]


async def test_a_confirm_of_what_nobody_waits_for_is_nothing() -> None:
    confirms = Confirms()
    futures = expect(confirms, 1)
    futures[0].cancel()
    confirms.on_confirm(ack(1))
    confirms.on_confirm(ack(1))
    assert len(confirms) == 0
