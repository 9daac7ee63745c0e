"""A whole embedded system on a free port, with the two switches the gateway's tests need: workers and projector on or off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

import twofold.bus.dispatch.broker
import twofold.bus.embedded.publisher
import twofold.bus.embedded.transport
import twofold.gateway.app
import twofold.readmodels.stores.sql
from tests.system import gateway_domain
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.leases import MemoryLeases
from twofold.eventstore.migrate import migrate
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.lanes import Epoch, LaneState
from twofold.kernel.members import Member, names_of
from twofold.kernel.ports import CommandQueue, Log, ViewStore
from twofold.kernel.rows import Progress
from twofold.readmodels.live.store import LiveViewStore
from twofold.readmodels.projection.projector import Projector
from twofold.readmodels.stores.routed import RoutedViewStore
from twofold.subscriptions.log_cache import log_of
from twofold.workers.execute import Executor

LANES = 2
SLICES = 2
BUS_DESCRIPTION: dict[str, Any] = {
    "channels": {
        "lane": {"address": "lane.{lane}", "messages": {"batch": {"$ref": "#/components/messages/batch"}}},
        "rings": {"address": "rings", "messages": {"advanced": {"$ref": "#/components/messages/advanced"}}},
    },
    "operations": {"sendCommands": {"action": "send", "channel": {"$ref": "#/channels/lane"}}},
    "messages": {
        "batch": {"summary": "Commands.", "contentType": "application/json", "payload": list[Envelope]},
        "advanced": {"summary": "Progress.", "contentType": "application/json", "payload": list[Progress]},
    },
}
"""As a bus describes itself."""


ALIVE_SECONDS = 3_600.0


class SystemClock:
    ahead_seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)


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
        self.refusals: list[tuple[str, str]] = []
        self.undecided: list[float] = []
        self.leases = MemoryLeases()
        self.clock = SystemClock()

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Header names with underscores for dashes; a `bytes` body is sent as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes) or (body is None and method in ("POST", "PUT")):
            named.setdefault("Content-Type", "application/json")
        if isinstance(body, bytes):
            sent: dict[str, Any] = {"data": body}
        else:
            sent = {} if body is None else {"json": body}
        async with self.session.request(method, self.url + path, headers=named, **sent) as response:
            text = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, await response.json(content_type=None) if is_json else text)

    async def count(self, tally_id: str, by: int = 1, colour: str = "blue", **headers: str) -> Answer:
        return await self.call("POST", "/commands/Count", {"tally_id": tally_id, "by": by, "colour": colour}, **headers)


def is_problem(answer: Answer, status: int, problem_type: str) -> dict[str, Any]:
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.json
    problem: dict[str, Any] = answer.json
    assert problem["type"] == f"/problems/{problem_type}", problem
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    return problem


@dataclass
class Parts:
    events: Log
    views: ViewStore
    queue: Any
    dead: SqliteLaneTable
    bell: LocalBell
    outcomes: LocalOutcomes
    broker: twofold.bus.embedded.transport.EmbeddedBroker
    projector: Projector
    stop: threading.Event
    state: LaneState = LaneState(Epoch(0, LANES))

    def lane_state(self) -> LaneState:
        return self.state

    def set_lanes(self, count: int) -> Iterator[LaneState]:
        yield self.state

    def depths(self) -> dict[str, int]:
        return {str(lane): self.dead.depths().get(lane, 0) for lane in range(LANES)}

    def work(self) -> None:
        """Let the workers take what waits."""
        self.broker.hold(range(LANES))

    def project(self) -> None:
        """Let the projector fold."""
        self.projector.hold(self.views.positions())


class GatedQueue:
    """The queue, which a test can shut, or fill for some streams."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.is_shut = False
        self.full_streams: set[str] = set()
        self.put_count = 0

    def put(self, envelope: Any) -> Any:
        self.put_count += 1
        if envelope.stream in self.full_streams:
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(Unavailable(Neighbour.LANES, "too many commands wait", is_overload=True))
            return refused
        return self._queue.put(envelope)

    def decided(self, outcomes: Any) -> None:
        self._queue.decided(outcomes)

    def overdue(self, seconds: float) -> Any:
        return self._queue.overdue(seconds)

    def queue_seconds(self) -> Any:
        return self._queue.queue_seconds()

    def refusal(self) -> Unavailable | None:
        if self.is_shut:
            return Unavailable(Neighbour.BROKER, "not connected")
        refusal: Unavailable | None = self._queue.refusal()
        return refusal


@contextmanager
def embedded(folder: Path, domain: Domain) -> Iterator[Parts]:
    migrate(f"sqlite:///{folder / 'log.db'}")
    file = SqliteFile(folder / "log.db")
    codec = Codec(domain)
    events, lanes = SqliteLog(file), SqliteLaneTable(file)
    bell, outcomes = LocalBell(), LocalOutcomes()
    rows = twofold.readmodels.stores.sql.connect(f"sqlite:///{folder / 'views.db'}", 4)
    stored: ViewStore = twofold.readmodels.stores.sql.SqlViewStore(rows)
    live: ViewStore = LiveViewStore(events, codec, lambda: views)
    has_live = any(not view.is_stored for view in domain.views.values())
    of = {name: stored if view.is_stored else live for name, view in domain.views.items()}
    views: ViewStore = RoutedViewStore(of) if has_live else stored
    for view in domain.views.values():
        views.make(view, SLICES)
    broker = twofold.bus.embedded.transport.EmbeddedBroker(lanes)
    executor = Executor(domain, codec, events, bell, outcomes)
    twofold.bus.dispatch.broker.declare_execute(broker, executor.execute)
    worker = twofold.bus.dispatch.broker.start_worker(broker, 2)
    projector = Projector(log_of(events, codec, domain.views.values()), stored, [domain.views.values()], bell)
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    queue: CommandQueue = twofold.bus.embedded.publisher.command_queue(lanes, LANES, broker.wake)
    try:
        yield Parts(events, views, GatedQueue(queue), lanes, bell, outcomes, broker, projector, stop)
    finally:
        stop.set()
        thread.join(10)
        worker.stop(timeout=5_000)
        broker.close()
        rows.dispose()
        file.close()


@asynccontextmanager
async def rig(
    folder: Path,
    working: bool = True,
    projecting: bool = True,
    allowed_hosts: str = "",
    module: ModuleType = gateway_domain,
) -> AsyncIterator[Rig]:
    folder.mkdir(exist_ok=True)
    domain, clock = domain_of(module), SystemClock()
    with embedded(folder, domain) as parts:
        inner = parts.queue._queue
        await inner.start()
        queries: list[tuple[str, int]] = []
        refusals: list[tuple[str, str]] = []
        undecided: list[float] = []
        leases, worker = MemoryLeases(), Member("workers", "w", knows=names_of(domain.commands))
        leases.renew(worker, [], ALIVE_SECONDS)
        ports = twofold.gateway.app.GatewayPorts(
            domain=domain,
            codec=Codec(domain),
            queue=parts.queue,
            inbox=parts.events,
            history=parts.events,
            parked_commands=parts.events,
            dead=parts.dead,
            rows=parts.views,
            builds=parts.views,
            parked_keys=parts.views,
            bell=parts.bell,
            outcomes=parts.outcomes,
            leases=leases,
            clock=clock,
            lanes=parts,
            bus_description=BUS_DESCRIPTION,
            count_refusal=lambda neighbour, reason: refusals.append((neighbour, reason)),
            exposition=lambda: (b"twofold_log_head 1\n", "text/plain; version=0.0.4"),
            observe_undecided=undecided.append,
            observe_queue_seconds=lambda seconds: None,
            observe_query=lambda view, status, seconds: queries.append((view, status)),
            allowed_hosts=allowed_hosts,
            describe={"title": "Tallies", "version": "1"},
        )
        if working:
            parts.work()
        if projecting:
            parts.project()
        serving = AsyncExitStack()
        try:
            async with serving, aiohttp.ClientSession() as session:  # clients go first: those that stay are waited for
                port = await serving.enter_async_context(
                    twofold.gateway.app.listen(twofold.gateway.app.application(ports), "127.0.0.1", 0)
                )
                made = Rig(session, port, parts, serving.aclose)
                made.clock = clock
                made.queries, made.refusals, made.leases, made.undecided = queries, refusals, leases, undecided
                yield made
        finally:
            await inner.close()


def unconnected(domain: Domain) -> twofold.gateway.app.GatewayPorts:
    """Ports behind which nobody answers: enough to ask an application what it would answer to."""

    class Nobody:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: pytest.fail(f"{name} was called")

    nobody: Any = Nobody()
    return twofold.gateway.app.GatewayPorts(
        domain=domain,
        codec=Codec(domain),
        clock=SystemClock(),
        queue=nobody,
        inbox=nobody,
        history=nobody,
        parked_commands=nobody,
        dead=nobody,
        rows=nobody,
        builds=nobody,
        parked_keys=nobody,
        bell=nobody,
        outcomes=nobody,
        leases=nobody,
        lanes=nobody,
        bus_description=BUS_DESCRIPTION,
        exposition=nobody.scrape,
        observe_undecided=nobody.observe,
        observe_queue_seconds=nobody.observe,
        observe_query=nobody.observe,
        count_refusal=nobody.count,
    )
