"""GET /console/data: everything the console draws, in one small answer a second.

Counters, not rates: whoever draws them knows when it asked. `accepted` counts this gateway's commands; `decided` those of
all of them, as far as it has heard. `peaks` are the most events each view was heard to be behind lately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from aiohttp import web

from twofold.gateway.commands.admission import Admission
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.answers import encode, shown
from twofold.gateway.http.operation import JSON, Route
from twofold.gateway.http.threads import Threads
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.errors import Unavailable
from twofold.kernel.lanes import LaneOperations
from twofold.kernel.log import Recorded
from twofold.kernel.ports import Clock, History

RECENT_EVENTS = 12


class ConsoleData:
    def __init__(
        self,
        admission: Admission,
        board: OutcomeBoard,
        lag: LagReports,
        progress: ProgressBoard,
        history: History,
        lanes: LaneOperations,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._admission = admission
        self._board = board
        self._lag = lag
        self._progress = progress
        self._history = history
        self._lanes = lanes
        self._clock = clock
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [Route("GET", "/console/data", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        report = await self._lag.current()
        recent, depths = await self._threads.run(lambda: self._read(report.lag.head))
        data = {
            "now": self._clock.now(),
            "head": report.lag.head,
            "accepted": self._admission.accepted_count,
            "decided": self._board.heard_count,
            "views": self._lag.states(report),
            "peaks": self._progress.peaks.peaks(asyncio.get_running_loop().time()),
            "lanes": depths,
            "recent": [shown(event) for event in reversed(recent)],
        }
        return web.Response(body=encode(data), content_type=JSON, headers={"Cache-Control": "no-store"})

    def _read(self, head: int) -> tuple[list[Recorded], Mapping[str, int] | None]:
        recent = self._history.page(max(0, head - RECENT_EVENTS), RECENT_EVENTS).events
        try:
            return recent, self._lanes.depths()
        except Unavailable:
            return recent, None  # the broker is away: the page says "unknown", and the rest of it still moves
