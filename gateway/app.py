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

from gateway.body import COMMAND_BYTES_MAX
from gateway.bulk import Bulk
from gateway.commands import Commands
from gateway.consistency import ConsistentReads
from gateway.console import ConsoleData, Depths
from gateway.documents.pages import Pages
from gateway.door import Door
from gateway.follow import Follower
from gateway.health import Health, Metrics
from gateway.lag import LagReports
from gateway.outcome_board import OutcomeBoard
from gateway.parked import Parked
from gateway.problem import answer_problems
from gateway.progress_board import ProgressBoard
from gateway.reads import Threads, Together
from gateway.serving import listen, serve
from gateway.sse import Streams
from gateway.streams import EventStreams
from gateway.views import ObserveQuery, Views
from kernel.codec import Codec
from kernel.domain import Domain
from kernel.ports import Bell, Clock, CommandQueue, EventStore, Outcomes, ViewStore

__all__ = ["Rooms", "application", "listen", "serve"]


@dataclass(frozen=True)
class Rooms:
    """The ports a gateway speaks for. `describe` may give the API's `title` and `version`."""

    domain: Domain
    codec: Codec
    queue: CommandQueue
    events: EventStore
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
