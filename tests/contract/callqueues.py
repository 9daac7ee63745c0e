"""Both ways to carry calls to the outside, made alike for the contract tests: RabbitMQ, and the table in SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import msgspec
import pika

from twofold.bus.effects.dispatch import EffectBroker, declare_effects, start_performers
from twofold.bus.effects.embedded import TableEffects
from twofold.bus.effects.rabbitmq import RabbitEffects
from twofold.bus.effects.topology import LATER_SECONDS, effect_queue, effect_queues, later
from twofold.bus.rabbitmq.dead import RabbitDeadLetters
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.call_table import SqliteCallTable
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.migrate import migrate
from twofold.kernel.effects import AskedCall
from twofold.kernel.letters import DeadLetters

EFFECTS = ("mail", "pay")
THREADS = 4
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Left = tuple[AskedCall, float] | None


def call(name: str, effect: str = "pay") -> AskedCall:
    return AskedCall(name, effect, "till", "k", msgspec.Raw(b'{"amount":1}'), NOW)


class Seen:
    """Performs calls: notes them, and says what `left` says of each."""

    def __init__(self, left: Callable[[AskedCall], Left] = lambda call: None) -> None:
        self._left = left
        self._lock = Lock()
        self.calls: list[AskedCall] = []
        self.at: list[float] = []

    def __call__(self, call: AskedCall, takes: int) -> Left:
        with self._lock:
            self.calls.append(call)
            self.at.append(time.monotonic())
        return self._left(call)

    @property
    def names(self) -> list[str]:
        with self._lock:
            return [call.call_id for call in self.calls]


@contextmanager
def performing(
    broker: EffectBroker,
    perform: Callable[[AskedCall, int], Left],
    admits: Callable[[str], bool] = lambda effect: True,
    threads: int = THREADS,
) -> Iterator[None]:
    declare_effects(broker, EFFECTS, perform, admits)
    worker = start_performers(broker, threads)
    try:
        yield
    finally:
        worker.stop(timeout=10_000)
        broker.close()


class RabbitCallQueue:
    kind = "rabbit"

    def __init__(self, url: str, prefix: str, effects: Collection[str] = EFFECTS) -> None:
        self.url = url
        self.prefix = prefix
        self.effects = effects
        self._brokers: list[EffectBroker] = []

    def broker(self) -> EffectBroker:
        self._brokers.append(RabbitEffects(self.url, self.prefix, self.effects))
        return self._brokers[-1]

    def put_raw(self, effect: str, body: bytes) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("", effect_queue(self.prefix, effect), body, mandatory=True)

    def letters(self) -> DeadLetters:
        return RabbitDeadLetters(self.url, self.prefix)

    def waiting(self) -> int:
        """Calls that wait, also those that wait for their time."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            names = [queue for queue in effect_queues(self.prefix, self.effects) if not queue.endswith(".dead")]
            return sum(channel.queue_declare(name, passive=True).method.message_count for name in names)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        clean_effects(self.url, self.prefix, self.effects)


class EmbeddedCallQueue:
    kind = "embedded"

    def __init__(self, path: Path, effects: Collection[str] = EFFECTS) -> None:
        migrate(f"sqlite:///{path}")
        self.effects = effects
        self._file = SqliteFile(path)
        self.table = SqliteCallTable(self._file)

    def broker(self) -> EffectBroker:
        return TableEffects(self.table, self.effects)

    def put_raw(self, effect: str, body: bytes) -> None:
        self.table.put([(effect, 0.0, body)])

    def letters(self) -> DeadLetters:
        return SqliteLaneTable(self._file)

    def waiting(self) -> int:
        return sum(self.table.depths().values())

    def close(self) -> None:
        self._file.close()


AnyCallQueue = RabbitCallQueue | EmbeddedCallQueue


def clean_effects(url: str, prefix: str, effects: Collection[str]) -> None:
    """Delete everything that effects have on a broker."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for queue in effect_queues(prefix, effects):
            channel.queue_delete(queue)
        for seconds in LATER_SECONDS:
            channel.exchange_delete(later(prefix, seconds))
