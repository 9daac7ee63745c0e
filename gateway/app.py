"""The gateway's composition: ports in, an aiohttp application out. serving.py puts it on a socket.

Rooms ──> boards (what was heard), threads (what is read) ──> door, reads, reports ──> routes ──> application
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from twofold.gateway.commands.admission import Door
from twofold.gateway.commands.bulk import Bulk
from twofold.gateway.commands.endpoints import Commands
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.documents.pages import Pages
from twofold.gateway.http.body import COMMAND_BYTES_MAX
from twofold.gateway.http.event_streams import Streams
from twofold.gateway.http.problem import answer_problems
from twofold.gateway.http.server import listen, serve
from twofold.gateway.http.threads import Threads, Together
from twofold.gateway.log.endpoints import EventStreams
from twofold.gateway.operations.console import ConsoleData, Depths
from twofold.gateway.operations.health import Health, Metrics
from twofold.gateway.operations.parked import Parked
from twofold.gateway.queries.consistency import ConsistentReads
from twofold.gateway.queries.endpoints import ObserveQuery, Views
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.live import Follower
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.ports import Bell, Clock, CommandQueue, Log, Outcomes, ViewStore

__all__ = ["Rooms", "application", "listen", "serve"]


@dataclass(frozen=True)
class Rooms:
    """The ports a gateway speaks for. `describe` may give the API's `title` and `version`."""

    domain: Domain
    codec: Codec
    queue: CommandQueue
    events: Log
    views: ViewStore
    bell: Bell
    outcomes: Outcomes
    clock: Clock
    lanes_total: int
    metrics: Metrics
    observe_query: ObserveQuery
    depths: Depths | None = None
    describe: Mapping[str, object] = field(default_factory=dict)


def application(rooms: Rooms) -> web.Application:
    """Every route of the contract. It listens to the bell and the outcomes for as long as it runs."""
    threads, streams, progress = Threads(), Streams(), ProgressBoard()
    inbox = Together(threads, rooms.events.outcomes)
    board = OutcomeBoard(inbox.get)
    lag = LagReports(rooms.domain, rooms.events, rooms.views, rooms.clock, threads, progress)
    door = Door(rooms.domain, rooms.codec, rooms.clock, rooms.queue, board)
    reads = ConsistentReads(rooms.views, board, progress, lag, threads)
    app = web.Application(client_max_size=COMMAND_BYTES_MAX, middlewares=[cast(Middleware, answer_problems)])
    for part in (
        Commands(door, board, rooms.events, threads),
        Bulk(door, board, rooms.events, threads),
        lag,
        Views(rooms.domain, reads, lag, Follower(reads, progress, streams), rooms.observe_query),
        EventStreams(rooms.domain, rooms.codec, rooms.events, threads, progress, streams),
        Parked(rooms.domain, door, rooms.events, rooms.views, threads),
        Health(rooms.queue, rooms.events, rooms.views, rooms.metrics, threads),
        ConsoleData(door, board, lag, progress, rooms.events, rooms.depths, rooms.lanes_total, rooms.clock, threads),
        Pages(rooms.domain, rooms.lanes_total, rooms.describe),
    ):
        app.router.add_routes(part.routes())

    async def listening(app: web.Application) -> AsyncIterator[None]:
        call = asyncio.get_running_loop().call_soon_threadsafe
        stops = (
            rooms.outcomes.listen(lambda outcomes: _pass_on(call, board.hear_news, outcomes)),
            rooms.bell.listen(
                on_ring=lambda position: _pass_on(call, progress.hear_ring, position),
                on_advanced=lambda steps: _pass_on(call, progress.hear_progress, steps),
            ),
        )
        lag.refresh()
        yield
        for stop in stops:
            stop()
        threads.close()

    async def close_streams(app: web.Application) -> None:
        streams.close()

    app.cleanup_ctx.append(listening)
    app.on_shutdown.append(close_streams)
    return app


def _pass_on(call: Callable[..., object], hear: Callable[..., None], news: object) -> None:
    """From the bell's thread to the loop; news that come while the loop closes are nobody's."""
    with suppress(RuntimeError):
        call(hear, news)
