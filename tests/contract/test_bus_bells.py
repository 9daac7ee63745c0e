"""What every bell promises, in one process and through RabbitMQ: hints that arrive soon, never block and never raise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec
import pika
import pytest

from tests.contract.buses import Proxy, until
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.bus.rabbitmq.bell import RabbitBell
from twofold.bus.rabbitmq.topology import NEWS, rings_exchange
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Bell, Outcomes
from twofold.kernel.rows import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RING_SECONDS_MAX = 0.05


@dataclass
class Bells:
    """`speaker` and `hearer` are those of two processes; `has_broker` is False where they are one."""

    speaker: Bell
    teller: Outcomes
    hearer: Bell
    reader: Outcomes
    has_broker: bool


@pytest.fixture(params=["local", "rabbit"])
def bells(request: pytest.FixtureRequest, unique: str) -> Iterator[Bells]:
    if request.param == "local":
        bell, outcomes = LocalBell(), LocalOutcomes()
        yield Bells(bell, outcomes, bell, outcomes, False)
        return
    url = request.getfixturevalue("broker_url")
    one, two = RabbitBell(url, unique), RabbitBell(url, unique)
    yield Bells(one.bell, one.outcomes, two.bell, two.outcomes, True)
    one.close()
    two.close()


def outcome(command_id: str, position: int = 1) -> Outcome:
    return Outcome(command_id, "Note", "note-1", "succeeded", 1, position, "f" * 32, NOW, NOW, ("Noted",))


def ring_until_heard(bell: Bell, heard: list[Any]) -> None:
    """A subscription takes a moment to stand; what is rung before that is lost, as a ring may be."""

    def ring() -> bool:
        bell.ring(1)
        time.sleep(0.02)
        return bool(heard)

    until(ring, "the first ring")
    time.sleep(0.1)


def test_a_ring_brings_the_latest_position(bells: Bells) -> None:
    """Rings may be merged; the last one is what counts."""
    heard: list[int] = []
    stop = bells.hearer.listen(on_ring=heard.append)
    ring_until_heard(bells.speaker, heard)
    for position in range(2, 500):
        bells.speaker.ring(position)
    until(lambda: heard[-1] == 499, "the latest position", seconds=5)
    assert heard == sorted(heard)
    stop()
    stop()
    bells.speaker.ring(500)
    time.sleep(0.1)
    assert heard[-1] == 499


def test_a_ring_is_heard_soon(bells: Bells) -> None:
    """A view is as fresh as the ring is quick."""
    heard: list[tuple[int, float]] = []
    bells.hearer.listen(on_ring=lambda position: heard.append((position, time.perf_counter())))
    ring_until_heard(bells.speaker, heard)
    seconds = []
    for position in range(1_000, 1_030):
        rung_at = time.perf_counter()
        bells.speaker.ring(position)
        until(lambda: heard[-1][0] == position, "the ring", seconds=5)  # noqa: B023
        seconds.append(heard[-1][1] - rung_at)
    assert median(seconds) < RING_SECONDS_MAX


def test_progress_and_outcomes_arrive_whole(bells: Bells) -> None:
    """A gateway that waits for a command learns what became of it, and then that its row is there."""
    progress: list[Progress] = []
    outcomes: list[Outcome] = []
    heard: list[int] = []
    bells.hearer.listen(on_ring=heard.append, on_advanced=progress.extend)
    bells.reader.listen(outcomes.extend)
    ring_until_heard(bells.speaker, heard)

    def tell() -> bool:
        bells.teller.tell([outcome("probe")])
        bells.speaker.advanced([Progress("probe", 1, 0, 1)])
        time.sleep(0.02)
        return bool(outcomes and progress)

    until(tell, "the first news of each kind")
    bells.teller.tell([outcome(f"{n:04}", n) for n in range(1_200)])
    bells.speaker.advanced([Progress("orders", 1, slice, 7) for slice in range(4)])
    bells.speaker.advanced([Progress("orders", 1, 2, 9)])
    until(lambda: outcomes[-1] == outcome("1199", 1199), "the outcomes", seconds=5)
    until(lambda: Progress("orders", 1, 2, 9) in progress, "the progress", seconds=5)
    assert {each for each in progress if each.view == "orders"} >= {Progress("orders", 1, slice, 7) for slice in (0, 1, 3)}
    assert [each.command_id for each in outcomes if each.command_id != "probe"] == [f"{n:04}" for n in range(1_200)]


def test_a_listener_that_fails_harms_nobody(bells: Bells) -> None:
    """A bug in one callback is loud, and neither reaches the sender nor the other listeners."""
    heard: list[int] = []

    def fail(position: int) -> None:
        raise RuntimeError(position)

    bells.hearer.listen(on_ring=fail)
    bells.hearer.listen(on_ring=heard.append)
    ring_until_heard(bells.speaker, heard)
    bells.speaker.ring(77)
    until(lambda: heard[-1] == 77, "the ring", seconds=5)


def test_a_bell_without_a_broker_neither_blocks_nor_raises(unique: str) -> None:
    """The write path must not feel that rings cannot be heard."""
    bell = RabbitBell("amqp://guest:guest@127.0.0.1:1/", unique)
    started_at = time.perf_counter()
    for position in range(5_000):
        bell.bell.ring(position)
        bell.outcomes.tell([outcome("x")])
    assert time.perf_counter() - started_at < 2.0
    bell.close()
    bell.bell.ring(5_001)


def test_a_bell_comes_back_after_a_cut(broker_url: str, unique: str) -> None:
    """Both ends reconnect by themselves, and what was rung last meanwhile is rung then."""
    proxy = Proxy(broker_url)
    one, two = RabbitBell(proxy.url, unique), RabbitBell(proxy.url, unique)
    heard: list[int] = []
    two.bell.listen(on_ring=heard.append)
    ring_until_heard(one.bell, heard)
    proxy.cut()
    heard.clear()
    ring_until_heard(one.bell, heard)
    one.close()
    two.close()
    proxy.close()


class Told:
    """What any bell of a namespace sends, by routing key."""

    def __init__(self, url: str, prefix: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self.connection.channel()
        self._channel.exchange_declare(rings_exchange(prefix), "direct", durable=True)
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        for key in NEWS:
            self._channel.queue_bind(self._queue, rings_exchange(prefix), key)

    def news(self) -> list[str]:
        """Since it was asked last."""
        found = []
        while (message := self._channel.basic_get(self._queue, auto_ack=True))[0] is not None:
            found.append(message[0].routing_key)
        return found


@pytest.fixture
def told(broker_url: str, unique: str) -> Iterator[Told]:
    told = Told(broker_url, unique)
    yield told
    told.connection.close()


def test_what_a_worker_tells_after_a_commit_is_one_message(broker_url: str, unique: str, told: Told) -> None:
    """A message costs the broker, its sender and each of its hearers about the same whatever is in it."""
    bell = RabbitBell(broker_url, unique)
    bell.bell.ring(1)
    until(lambda: told.news(), "it is connected")
    for position in range(2, 12):
        bell.bell.ring(position)
        bell.outcomes.tell([outcome(f"{position}", position)])
        time.sleep(0.02)
    assert told.news() == ["appended"] * 10
    bell.bell.ring(12)
    until(lambda: told.news() == ["appended"], "a ring that nothing goes with")
    bell.close()


def test_who_listens_to_all_news_has_one_queue(broker_url: str, unique: str, told: Told) -> None:
    """Each of its messages comes once, and everything in it is heard."""
    one, two = RabbitBell(broker_url, unique), RabbitBell(broker_url, unique)
    rung: list[int] = []
    decided: list[str] = []
    two.bell.listen(on_ring=rung.append, on_advanced=lambda progress: None)
    two.outcomes.listen(lambda outcomes: decided.extend(each.command_id for each in outcomes))
    ring_until_heard(one.bell, rung)

    def is_heard() -> bool:
        one.outcomes.tell([outcome("first")])
        time.sleep(0.02)
        return bool(decided)

    until(is_heard, "the first outcome")
    for key, news in (("ring", b"77"), ("outcomes", msgspec.json.encode([outcome("earlier")]))):
        told.connection.channel().basic_publish(rings_exchange(unique), key, news)  # of a worker of release 0.1.0
    until(lambda: rung[-1] == 77 and decided[-1] == "earlier", "what an earlier release tells")
    rung.clear()
    decided.clear()
    one.bell.ring(78)
    one.outcomes.tell([outcome("last", 78)])
    until(lambda: bool(rung and decided), "both")
    time.sleep(0.1)
    assert (rung, decided) == ([78], ["last"])
    one.close()
    two.close()
