"""How far every view is, read at most twice a second whoever asks, and GET /lag, GET /views.

Rows positions, parked keys; History head, times ──> one shared read ──> answers, View-Lag, progress board
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web

from twofold.gateway.http.answers import ViewState, encode
from twofold.gateway.http.operation import AWAY, JSON, Operation, Reply, Route
from twofold.gateway.http.request import Params
from twofold.gateway.http.threads import Threads, tell_bug
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import Clock, History, ParkedKeys, Rows
from twofold.kernel.view import SliceId
from twofold.monitoring.lag import Lag, read_lag

FRESH_SECONDS = 0.5
DOUBT_SECONDS = 1.0
"""A reading older than this says nothing of the log there is now: a failover takes longer."""
READING_SECONDS_MAX = 5.0
"""How long one is waited for: what is merely slow is no reason to answer from before."""


class Report(NamedTuple):
    """One reading. `read_at` is the loop's time when it began; `rekeyed` is by view, and of most views there is none."""

    lag: Lag
    positions: Mapping[SliceId, int]
    parked_counts: Mapping[str, int]
    rekeyed: Mapping[str, int | None]
    read_at: float


LAG_OPERATION = Operation(
    name="lag",
    tag="views",
    summary="How far every view is behind the log",
    replies={200: Reply("The lag.", Lag)},
    problems=("malformed", *AWAY),
)
VIEWS_OPERATION = Operation(
    name="views",
    tag="views",
    summary="Every view, and how far it is",
    replies={
        200: Reply(
            "The views.",
            {"type": "object", "required": ["views"], "properties": {"views": {"type": "array", "items": ViewState}}},
        )
    },
    problems=("malformed", *AWAY),
)


class LagReports:
    """Lives on the event loop."""

    def __init__(
        self,
        domain: Domain,
        history: History,
        rows: Rows,
        parked: ParkedKeys,
        clock: Clock,
        threads: Threads,
        progress: ProgressBoard,
    ) -> None:
        self._domain = domain
        self._history = history
        self._rows = rows
        self._parked = parked
        self._clock = clock
        self._threads = threads
        self._progress = progress
        self._last: Report | None = None
        self._reading: asyncio.Task[Report] | None = None

    def routes(self) -> Iterable[Route]:
        return [Route("GET", "/lag", self.get, (LAG_OPERATION,)), Route("GET", "/views", self.views, (VIEWS_OPERATION,))]

    async def get(self, request: web.Request) -> web.Response:
        Params(request)
        report = await self.current()
        return web.Response(body=encode(report.lag), content_type=JSON, headers={"Cache-Control": "no-store"})

    async def views(self, request: web.Request) -> web.Response:
        Params(request)
        states = self.states(await self.current())
        return web.Response(body=encode({"views": states}), content_type=JSON, headers={"Cache-Control": "no-store"})

    async def current(self) -> Report:
        """At most half a second old. Raises Unavailable."""
        if self._last is not None and not self._is_old(self._last):
            return self._last
        return await asyncio.shield(self.refresh())

    def refresh(self) -> asyncio.Task[Report]:
        """The reading that is under way, or else a new one."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(tell_bug)
        return self._reading

    def seconds(self, view: str, position: int) -> float:
        """About how old the oldest event is that rows at this position do not show: from memory, for a header; 0 when none is.

        Learning that memory is old starts a reading, for the next one who asks.
        """
        if self._last is None or self._is_old(self._last):
            self.refresh()
        head = max(self._progress.head, self._last.lag.head if self._last else 0)
        if position >= head or self._last is None:
            return 0.0
        lag = self._last.lag.views
        return max((lag[name].lag_seconds for name in self._domain.views[view].follows), default=0.0)

    async def is_diverged(self, view: str) -> bool:
        """Whether the view stood beside its log at the last reading; as `seconds`, it sees to the next one. Where nobody has
        asked for a while the log may have been replaced since, and the next one is waited for, if there can be one."""
        if self._last is None or self._is_old(self._last, DOUBT_SECONDS):
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(READING_SECONDS_MAX):
                    await self.current()
        elif self._is_old(self._last):
            self.refresh()
        return self._last is not None and self._last.lag.views[view].state == "diverged"

    def rekeyed(self, view: str) -> int | None:
        """ParkedLines.rekeyed of the last reading, which `is_diverged` has seen to."""
        return self._last.rekeyed.get(view) if self._last is not None else None

    def states(self, report: Report) -> list[ViewState]:
        slices = Counter(slice_id.view for slice_id in report.positions)
        return [
            ViewState(
                name=name,
                key=view.key,
                store=view.store if view.is_stored else "none",
                sync=view.sync,
                slices=slices[name] if view.is_stored else 0,
                indexes=list(view.indexes),
                orders=list(view.orders),
                compounds=[list(compound) for compound in view.compounds],
                position=report.lag.views[name].position,
                lag_events=report.lag.views[name].lag_events,
                lag_seconds=report.lag.views[name].lag_seconds,
                state=report.lag.views[name].state,
                parked_keys=report.parked_counts.get(name, 0),
            )
            for name, view in self._domain.views.items()
        ]

    def _is_old(self, report: Report, seconds: float = FRESH_SECONDS) -> bool:
        return asyncio.get_running_loop().time() - report.read_at > seconds

    async def _read(self) -> Report:
        read_at = asyncio.get_running_loop().time()
        known = {name: view.position for name, view in self._last.lag.views.items()} if self._last else {}
        report = await self._threads.run(lambda: self._read_blocking(read_at, known))
        self._progress.learn_positions(report.positions)
        self._progress.hear_ring(report.lag.head)
        self._last = report
        return report

    def _read_blocking(self, read_at: float, known: Mapping[str, int]) -> Report:
        lag = read_lag(self._history, self._rows, self._parked, self._domain.views, self._clock, known)
        counts, rekeyed = self._parked.parked_counts(), dict[str, int | None]()
        for view in [view for view, count in counts.items() if count]:
            with suppress(Unavailable):
                rekeyed[view] = self._parked.rekeyed(view)
        return Report(lag, self._rows.positions(), counts, rekeyed, read_at)
