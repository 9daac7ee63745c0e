"""Both ways to carry commands, made alike for the contract tests: RabbitMQ's lanes, and the lane table in SQLite."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import urlsplit

import msgspec
import pika

import twofold.bus.embedded.publisher
import twofold.bus.embedded.transport
import twofold.bus.rabbitmq.dead
import twofold.bus.rabbitmq.publisher
import twofold.bus.rabbitmq.topology
import twofold.bus.rabbitmq.transport
from tests.named import id_of, name_of
from twofold.bus.dispatch.broker import LaneBroker, declare_execute, start_worker
from twofold.bus.outbox import Outbox
from twofold.bus.rabbitmq.topology import commands_exchange, lane_queue, queues, rings_exchange
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.migrate import migrate
from twofold.kernel.envelope import Envelope
from twofold.kernel.ids import lane_of
from twofold.kernel.letters import DeadLetters
from twofold.testing.memory_bus import MemoryLaneEpochs, memory_lanes
from twofold.testing.memory_lanes import MemoryLaneTable

LANES = 4
WAIT_SECONDS_MAX = 30.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def envelope(name: str, stream: str, text: str = "x") -> Envelope:
    data = msgspec.Raw(msgspec.json.encode({"text": text}))
    return Envelope(id_of(name), "Note", stream, data, "f" * 32, NOW)


def stream_on(lane: int, number: int = 0) -> str:
    """The name of a stream that travels on this lane."""
    names = (f"note-{index}" for index in range(1_000))
    return [name for name in names if lane_of(name, LANES) == lane][number]


def until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS_MAX) -> None:
    """Wait for it; fail, saying `what` did not come, when it takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


async def put_all(queue: Outbox, envelopes: Sequence[Envelope]) -> None:
    await asyncio.gather(*[queue.put(envelope) for envelope in envelopes])


@contextmanager
def working(
    broker: LaneBroker, execute: Callable[[Sequence[Envelope]], None], lanes: Sequence[int] = range(LANES)
) -> Iterator[None]:
    """Dramatiq's worker threads execute what waits on these lanes."""
    declare_execute(broker, execute)
    broker.hold(lanes)
    worker = start_worker(broker, 2)
    try:
        yield
    finally:
        worker.stop(timeout=10_000)
        broker.close()


class Seen:
    """What was executed, in order, by name. `ids` has a repeated command once, where it came first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.calls: list[list[Envelope]] = []

    def __call__(self, envelopes: Sequence[Envelope]) -> None:
        with self._lock:
            self.calls.append(list(envelopes))

    @property
    def ids(self) -> list[str]:
        with self._lock:
            return list(dict.fromkeys(name_of(envelope.command_id) for call in self.calls for envelope in call))

    def on(self, stream: str) -> list[str]:
        with self._lock:
            found = [name_of(envelope.command_id) for call in self.calls for envelope in call if envelope.stream == stream]
        return list(dict.fromkeys(found))


class RabbitBus:
    """`depth` counts messages that wait in a lane, `dead` the dead letters."""

    kind = "rabbit"

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.prefix = prefix
        self.epochs = MemoryLaneEpochs(LANES)

    def queue(self) -> Outbox:
        return twofold.bus.rabbitmq.publisher.command_queue(self.url, self.epochs, self.prefix)

    def broker(self) -> LaneBroker:
        return twofold.bus.rabbitmq.transport.RabbitBroker(self.url, self.epochs, self.prefix)

    def put_raw(self, lane: int, body: bytes) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("", lane_queue(self.prefix, lane), body, mandatory=True)

    def depth(self, lane: int) -> int:
        return twofold.bus.rabbitmq.topology.lane_depths(self.url, self.prefix, range(LANES))[str(lane)]

    def letters(self) -> DeadLetters:
        return twofold.bus.rabbitmq.dead.RabbitDeadLetters(self.url, self.prefix)

    def dead(self) -> int:
        return twofold.bus.rabbitmq.topology.lane_depths(self.url, self.prefix, ())["dead"]

    def delete_queues(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            state = self.epochs.state()
            for queue in queues(self.prefix, [*range(LANES), *state.newest.lanes, *(state.old.lanes if state.old else ())]):
                channel.queue_delete(queue)

    def close(self) -> None:
        self.delete_queues()
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.exchange_delete(rings_exchange(self.prefix))
            channel.exchange_delete(commands_exchange(self.prefix))


class EmbeddedBus:
    kind = "embedded"

    def __init__(self, path: Path) -> None:
        migrate(f"sqlite:///{path}")
        self.path = path
        self._file = SqliteFile(path)
        self.table = SqliteLaneTable(self._file)
        self._brokers: list[LaneBroker] = []

    def queue(self) -> Outbox:
        return twofold.bus.embedded.publisher.command_queue(self.table, LANES, self._wake)

    def broker(self) -> LaneBroker:
        self._brokers.append(twofold.bus.embedded.transport.EmbeddedBroker(self.table))
        return self._brokers[-1]

    def put_raw(self, lane: int, body: bytes) -> None:
        self.table.put([(lane, body)])
        self._wake()

    def depth(self, lane: int) -> int:
        return self.table.depths().get(lane, 0)

    def letters(self) -> DeadLetters:
        return self.table

    def dead(self) -> int:
        with self._file.reading() as reader:
            found: int = reader.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
        return found

    def close(self) -> None:
        self._file.close()

    def _wake(self) -> None:
        for broker in self._brokers:
            broker.wake()


class MemoryBus:
    """The embedded bus over the twin of its table."""

    kind = "memory"

    def __init__(self) -> None:
        self.table = MemoryLaneTable()
        self._brokers: list[LaneBroker] = []

    def queue(self) -> Outbox:
        return twofold.bus.embedded.publisher.command_queue(self.table, LANES, self._wake)

    def broker(self) -> LaneBroker:
        _, broker = memory_lanes(LANES, self.table)
        self._brokers.append(broker)
        return broker

    def put_raw(self, lane: int, body: bytes) -> None:
        self.table.put([(lane, body)])
        self._wake()

    def depth(self, lane: int) -> int:
        return self.table.depths().get(lane, 0)

    def letters(self) -> DeadLetters:
        return self.table

    def dead(self) -> int:
        return len(self.table.dead_letters)

    def close(self) -> None:
        pass

    def _wake(self) -> None:
        for broker in self._brokers:
            broker.wake()


AnyBus = RabbitBus | EmbeddedBus | MemoryBus


class Proxy:
    """Stands between a client and a broker; `cut` ends every connection at once, `is_open` False refuses new ones."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "127.0.0.1", target.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = target._replace(netloc=f"guest:guest@127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.is_open = True
        self.accepted = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self) -> None:
        self.is_open = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                client.close()
                continue
            self.accepted += 1
            server = socket.create_connection(self._target)
            self._pairs.append((client, server))
            Thread(target=_pump, args=(client, server), daemon=True).start()
            Thread(target=_pump, args=(server, client), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
