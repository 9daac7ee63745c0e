"""GET /console/data: everything the console draws, in one small answer a second.

Counters, not rates: whoever draws them knows when it asked. `accepted` counts this gateway's commands; `decided` those of
all of them, as far as it has heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from gateway.answers import encode, shown
from gateway.body import JSON
from gateway.door import Door
from gateway.lag import LagReports
from gateway.outcome_board import OutcomeBoard
from gateway.reads import Threads
from kernel.errors import Unavailable
from kernel.log import Recorded
from kernel.ports import Clock, EventStore

RECENT_EVENTS = 12

Depths = Callable[[], Mapping[str, int]]
"""Messages waiting by lane, "dead" for the dead letters."""


class ConsoleData:
    def __init__(
        self,
        door: Door,
        board: OutcomeBoard,
        lag: LagReports,
        events: EventStore,
        depths: Depths | None,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._door = door
        self._board = board
        self._lag = lag
        self._events = events
        self._depths = depths
        self._clock = clock
        self._threads = threads

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/console/data", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        report = await self._lag.current()
        recent, depths = await self._threads.run(lambda: self._read(report.lag.head))
        data = {
            "now": self._clock.now(),
            "head": report.lag.head,
            "accepted": self._door.accepted_count,
            "decided": self._board.heard_count,
            "views": self._lag.states(report),
            "lanes": depths,
            "recent": [shown(event) for event in reversed(recent)],
        }
        return web.Response(body=encode(data), content_type=JSON, headers={"Cache-Control": "no-store"})

    def _read(self, head: int) -> tuple[list[Recorded], Mapping[str, int] | None]:
        recent = self._events.page(max(0, head - RECENT_EVENTS), RECENT_EVENTS).events
        try:
            depths = self._depths() if self._depths is not None else None
        except Unavailable:
            depths = None  # the broker is away: the page says "unknown", and the rest of it still moves
        return recent, depths
