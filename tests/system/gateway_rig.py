"""A whole embedded system on a free port, with the two switches the gateway's tests need: workers and projector on or off."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

import bus.broker
import bus.embedded
import gateway.app
import readmodels.sql
from bus.local import LocalBell, LocalOutcomes
from eventstore.lanes import SqliteLaneTable
from eventstore.migrate import migrate
from eventstore.sqlite import SqliteEventStore
from eventstore.sqlite_file import SqliteFile
from kernel.codec import Codec
from kernel.domain import domain_of
from kernel.ports import CommandQueue, EventStore, ViewStore
from readmodels.projector import Projector
from tests.system import gateway_domain
from workers.execute import Executor

LANES = 2
SLICES = 2


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Answer:
    """One HTTP answer, read."""

    status: int
    headers: Any
    json: Any


class Rig:
    """`url`, and what is behind it. `stop` stops serving, once."""

    def __init__(
        self, session: aiohttp.ClientSession, port: int, parts: Parts, stop: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.session = session
        self.parts = parts
        self.stop = stop
        self.queries: list[tuple[str, int]] = []

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Header names with underscores for dashes; a `bytes` body is sent as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            named.setdefault("Content-Type", "application/json")
            sent: dict[str, Any] = {"data": body}
        else:
            sent = {} if body is None else {"json": body}
        async with self.session.request(method, self.url + path, headers=named, **sent) as response:
            text = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, await response.json(content_type=None) if is_json else text)

    async def count(self, tally_id: str, by: int = 1, colour: str = "blue", **headers: str) -> Answer:
        return await self.call("POST", "/commands/Count", {"tally_id": tally_id, "by": by, "colour": colour}, **headers)


def is_problem(answer: Answer, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.json
    problem: dict[str, Any] = answer.json
    assert problem["type"] == f"/problems/{kind}", problem
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    return problem


@dataclass
class Parts:
    events: EventStore
    views: ViewStore
    queue: Any
    bell: LocalBell
    outcomes: LocalOutcomes
    broker: bus.embedded.EmbeddedBroker
    projector: Projector
    stop: threading.Event

    def work(self) -> None:
        """Let the workers take what waits."""
        self.broker.hold(range(LANES))

    def project(self) -> None:
        """Let the projector fold."""
        self.projector.hold(self.views.positions())


class GatedQueue:
    """The queue, with a door that a test can shut."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.is_shut = False
        self.put_count = 0

    def put(self, envelope: Any) -> Any:
        self.put_count += 1
        return self._queue.put(envelope)

    def is_ready(self) -> bool:
        return not self.is_shut and bool(self._queue.is_ready())


@contextmanager
def embedded(folder: Path) -> Iterator[Parts]:
    migrate(f"sqlite:///{folder / 'log.db'}")
    file = SqliteFile(folder / "log.db")
    domain = domain_of(gateway_domain)
    codec = Codec(domain)
    events, lanes = SqliteEventStore(file), SqliteLaneTable(file)
    bell, outcomes = LocalBell(), LocalOutcomes()
    rows = readmodels.sql.connect(f"sqlite:///{folder / 'views.db'}", 4)
    views = readmodels.sql.SqlViewStore(rows)
    for view in domain.views.values():
        views.prepare(view, SLICES)
    broker = bus.embedded.EmbeddedBroker(lanes, LANES)
    executor = Executor(domain, codec, events, bell, outcomes)
    bus.broker.declare_execute(broker, executor.execute)
    worker = bus.broker.start_worker(broker, 2)
    projector = Projector(events, views, list(domain.views.values()), codec, bell)
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    queue: CommandQueue = bus.embedded.command_queue(lanes, LANES, broker.wake)
    try:
        yield Parts(events, views, GatedQueue(queue), bell, outcomes, broker, projector, stop)
    finally:
        stop.set()
        thread.join(10)
        worker.stop(timeout=5_000)
        broker.close()
        rows.dispose()
        file.close()


@asynccontextmanager
async def rig(folder: Path, working: bool = True, projecting: bool = True) -> AsyncIterator[Rig]:
    domain = domain_of(gateway_domain)
    with embedded(folder) as parts:
        inner = parts.queue._queue
        await inner.start()
        queries: list[tuple[str, int]] = []
        rooms = gateway.app.Rooms(
            domain=domain,
            codec=Codec(domain),
            queue=parts.queue,
            events=parts.events,
            views=parts.views,
            bell=parts.bell,
            outcomes=parts.outcomes,
            clock=SystemClock(),
            lanes_total=LANES,
            metrics=lambda: (b"twofold_log_head 1\n", "text/plain; version=0.0.4"),
            observe_query=lambda view, status, seconds: queries.append((view, status)),
            depths=lambda: {str(lane): 0 for lane in range(LANES)},
            describe={"title": "Tallies", "version": "1"},
        )
        if working:
            parts.work()
        if projecting:
            parts.project()
        serving = AsyncExitStack()
        try:
            async with aiohttp.ClientSession() as session, serving:
                port = await serving.enter_async_context(gateway.app.listen(gateway.app.application(rooms), "127.0.0.1", 0))
                made = Rig(session, port, parts, serving.aclose)
                made.queries = queries
                yield made
        finally:
            await inner.close()
