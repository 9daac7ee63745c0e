"""The gateway's composition: ports in, an aiohttp application out. http/server.py puts it on a socket.

GatewayPorts ──> boards (what was heard), threads (what is read) ──> admission, reads, reports ──> routes ──> application
                                                                                              └──> documents
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from twofold.gateway.commands.admission import Admission, Mint
from twofold.gateway.commands.bulk import BulkEndpoint
from twofold.gateway.commands.endpoints import CommandEndpoints
from twofold.gateway.commands.outcomes import OutcomeBoard, look_after
from twofold.gateway.documents.pages import Pages
from twofold.gateway.http.event_streams import OpenEventStreams
from twofold.gateway.http.headers import Door
from twofold.gateway.http.operation import Route
from twofold.gateway.http.problem import answer_expectation, answer_problems
from twofold.gateway.http.refusals import CountRefusal, Refusals
from twofold.gateway.http.request import BODIES, COMMAND_BYTES_MAX, Bodies
from twofold.gateway.http.server import listen, serve
from twofold.gateway.http.threads import THREADS, BatchLoader, Threads, on_loop, tell_bug
from twofold.gateway.log.endpoints import LogEndpoints
from twofold.gateway.log.following import LogFollowers
from twofold.gateway.operations.audits import AuditEndpoint
from twofold.gateway.operations.console import ConsoleData
from twofold.gateway.operations.dead import DeadEndpoints
from twofold.gateway.operations.health import Exposition, HealthEndpoints
from twofold.gateway.operations.instances import Instances
from twofold.gateway.operations.interventions import InterventionEndpoints
from twofold.gateway.operations.lanes import LaneEndpoints
from twofold.gateway.operations.members import MemberEndpoint
from twofold.gateway.operations.parked import ParkedEndpoints
from twofold.gateway.operations.processes import ProcessEndpoints
from twofold.gateway.operations.rebuilds import RebuildEndpoints
from twofold.gateway.queries.changes import ChangingAnswers
from twofold.gateway.queries.composite import CompositeEndpoint
from twofold.gateway.queries.consistency import ConsistentReads
from twofold.gateway.queries.endpoints import ObserveQuery, ViewEndpoints
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.builds import Builds
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.lanes import LaneOperations
from twofold.kernel.letters import DeadLetters
from twofold.kernel.ports import Bell, Clock, CommandQueue, History, Inbox, Leases, Outcomes, ParkedCommands, ParkedKeys, Rows
from twofold.kernel.rows import Generation

__all__ = ["ROUTES", "GatewayPorts", "application", "listen", "serve"]

PATIENT_THREADS = 4
"""For each store, for those who have waited and for event streams: none of those who ask once."""
LIVE_THREADS = 4
"""For live views: each may hold the events of a whole row in memory, and folding is work for one core."""
FOLLOWING_THREADS = 2
"""For event streams of the log: none of those who ask for a page."""
ROUTES: web.AppKey[list[Route]] = web.AppKey("ROUTES", list)
"""Every route of the application, with what the documents say of it."""


@dataclass(frozen=True)
class GatewayPorts:
    """What a gateway asks for. `answers_from` names the rows that answer for a
    view. `allowed_hosts` are names it answers under (http/headers.py). `describe` may give the API's
    `title` and `version`; `bus_description` is what the bus says of its channels, operations and messages
    (documents/asyncapi.py)."""

    domain: Domain
    codec: Codec
    clock: Clock
    queue: CommandQueue
    inbox: Inbox
    history: History
    parked_commands: ParkedCommands
    dead: DeadLetters
    rows: Rows
    builds: Builds
    parked_keys: ParkedKeys
    bell: Bell
    outcomes: Outcomes
    leases: Leases
    lanes: LaneOperations
    bus_description: Mapping[str, Any]
    exposition: Exposition
    observe_undecided: Callable[[float], None]
    observe_queue_seconds: Callable[[Mapping[int, float]], None]
    observe_query: ObserveQuery
    count_refusal: CountRefusal
    answers_from: Callable[[str], Generation | None] = lambda view: None
    allowed_hosts: str = ""
    describe: Mapping[str, object] = field(default_factory=dict)


def application(ports: GatewayPorts) -> web.Application:
    """Every route of the contract. It listens to the bell and the outcomes for as long as it runs."""
    threads, streams, progress = Threads(), OpenEventStreams(), ProgressBoard()
    refusals = Refusals(ports.count_refusal)
    board = OutcomeBoard(BatchLoader(threads, ports.inbox.outcomes).load, ports.queue.decided)
    mint = Mint(ports.domain, ports.codec, ports.clock)
    admission = Admission(ports.codec, ports.queue, ports.inbox, ports.history, board, threads)
    lag = LagReports(ports.domain, ports.history, ports.rows, ports.parked_keys, ports.clock, threads, progress)
    auditing, following = Threads(1), Threads(FOLLOWING_THREADS)
    of_store = {
        (view.sync, view.store): Threads(THREADS if view.is_stored else LIVE_THREADS) for view in ports.domain.views.values()
    }
    patient_of_store = {store: Threads(PATIENT_THREADS) for store in of_store}
    of_view, patient_of_view = (
        {name: of[view.sync, view.store] for name, view in ports.domain.views.items()} for of in (of_store, patient_of_store)
    )
    reads = ConsistentReads(
        ports.rows, ports.parked_keys, board, progress, of_view, patient_of_view, lag.is_diverged, lag.rekeyed
    )
    changes = ChangingAnswers(reads, progress, streams)
    views = ViewEndpoints(ports.domain, reads, lag, changes, ports.observe_query)
    instances = Instances(ports.rows, ports.parked_keys, ports.clock)
    routes: list[Route] = []
    pages = Pages(ports.domain, lambda: routes, ports.bus_description, ports.describe)
    for part in (
        CommandEndpoints(ports.domain, mint, admission, board),
        BulkEndpoint(ports.domain, mint, admission, refusals),
        RebuildEndpoints(ports.domain, ports.builds, ports.history, ports.clock, threads),
        views,
        CompositeEndpoint(ports.domain, views, refusals),
        lag,
        LogEndpoints(
            ports.domain, ports.codec, ports.history, threads, streams, LogFollowers(ports.history, following, progress)
        ),
        DeadEndpoints(ports.queue, ports.dead, threads),
        ParkedEndpoints(ports.domain, admission, ports.parked_commands, ports.parked_keys, threads),
        ProcessEndpoints(ports.domain, ports.rows, ports.parked_keys, instances, lag, ports.clock, threads),
        InterventionEndpoints(ports.domain, instances, ports.parked_keys, admission, board, ports.clock, threads),
        AuditEndpoint(ports.domain, ports.codec, ports.history, ports.rows, ports.parked_keys, auditing),
        HealthEndpoints(
            ports.queue,
            ports.history,
            ports.rows,
            ports.builds,
            ports.answers_from,
            ports.leases,
            ports.domain,
            board,
            ports.clock,
            ports.exposition,
            ports.observe_undecided,
            ports.observe_queue_seconds,
            threads,
        ),
        ConsoleData(admission, board, lag, progress, ports.history, ports.lanes, ports.clock, threads),
        LaneEndpoints(ports.lanes, ports.queue, threads),
        MemberEndpoint(ports.leases, threads),
        pages,
    ):
        routes += part.routes()
    app = web.Application(
        client_max_size=COMMAND_BYTES_MAX, middlewares=[answer_problems(refusals, Door(ports.allowed_hosts).check)]
    )
    app[ROUTES], app[BODIES] = routes, Bodies()
    app.router.add_routes([route.definition(answer_expectation) for route in routes])

    async def listening(app: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        stops = (
            ports.outcomes.listen(on_loop(loop, board.hear_news)),
            ports.bell.listen(on_ring=on_loop(loop, progress.hear_ring), on_advanced=on_loop(loop, progress.hear_progress)),
        )
        lag.refresh()
        looking = [asyncio.create_task(look_after(ports.queue, board)), asyncio.create_task(reads.look_after())]
        for task in looking:
            task.add_done_callback(tell_bug)
        yield
        for task in looking:
            task.cancel()
        for stop in stops:
            stop()
        refusals.close()
        for pool in (threads, auditing, following, *of_store.values(), *patient_of_store.values()):
            pool.close()

    async def end_waiting(app: web.Application) -> None:
        refusals.is_closing = True
        streams.close()
        board.close()
        progress.close()

    app.cleanup_ctx.append(listening)
    app.on_shutdown.append(end_waiting)
    return app
