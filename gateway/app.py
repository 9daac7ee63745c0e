"""The gateway's composition: ports in, an aiohttp application out; and the loop that serves it until told to stop.

Rooms ──> boards (what was heard), threads (what is read) ──> door, reads, reports ──> routes ──> application ──> serve
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
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
from gateway.sse import Streams
from gateway.streams import EventStreams
from gateway.views import ObserveQuery, Views
from kernel.codec import Codec
from kernel.domain import Domain
from kernel.ports import Bell, Clock, CommandQueue, EventStore, Outcomes, ViewStore

KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s for which proxies commonly keep their own connections."""
SHUTDOWN_SECONDS = 10.0
BACKLOG = 1_024


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
        ConsoleData(door, board, lag, rooms.events, rooms.depths, rooms.clock, threads),
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


@asynccontextmanager
async def listen(app: web.Application, host: str, port: int, reuse_port: bool = False) -> AsyncIterator[int]:
    """Serve inside the block; the port (of use when 0 was asked for). Ends open streams, lets running requests finish."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_port=reuse_port or None)
        await site.start()
        addresses = [address for address in runner.addresses if isinstance(address, tuple)]
        yield int(addresses[0][1])
    finally:
        await runner.cleanup()


async def serve(
    app: web.Application, host: str, port: int, reuse_port: bool = False, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. `on_ready` is called once the socket listens."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with listen(app, host, port, reuse_port):
        if on_ready is not None:
            on_ready()
        await told.wait()
