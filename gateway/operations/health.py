"""GET /livez, /readyz and /metrics: for whoever keeps this process alive, sends it traffic, or watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web

from twofold.gateway.http.body import JSON
from twofold.gateway.http.threads import Threads
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ports import CommandQueue, History, Rows

FRESH_SECONDS = 1.0
PROBE_SECONDS_MAX = 2.0

Metrics = Callable[[], tuple[bytes, str]]
"""The exposition and its media type."""


class Health:
    def __init__(self, queue: CommandQueue, events: History, views: Rows, metrics: Metrics, threads: Threads) -> None:
        self._queue = queue
        self._events = events
        self._views = views
        self._metrics = metrics
        self._threads = threads
        self._probed_at: float | None = None
        self._missing: Neighbour | None = None

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/livez", self.live), web.get("/readyz", self.ready), web.get("/metrics", self.exposition)]

    async def live(self, request: web.Request) -> web.Response:
        return _ok()

    async def ready(self, request: web.Request) -> web.Response:
        """Raises Unavailable with the first neighbour that does not answer; asked at most once a second."""
        if not self._queue.is_ready():
            raise Unavailable(Neighbour.LANES, "not ready")
        now = asyncio.get_running_loop().time()
        if self._probed_at is None or now - self._probed_at > FRESH_SECONDS:
            self._missing = await self._probe()
            self._probed_at = now
        if self._missing is not None:
            raise Unavailable(self._missing)
        return _ok()

    async def exposition(self, request: web.Request) -> web.Response:
        body, media_type = await self._threads.run(self._metrics)
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def _probe(self) -> Neighbour | None:
        for neighbour, call in ((Neighbour.LOG, self._events.head), (Neighbour.ROWS, self._views.positions)):
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    await self._threads.run(call)
            except (Unavailable, TimeoutError):
                return neighbour
        return None


def _ok() -> web.Response:
    return web.Response(body=b'{"status":"ok"}', content_type=JSON, headers={"Cache-Control": "no-store"})
