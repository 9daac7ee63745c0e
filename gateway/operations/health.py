"""GET /livez, /readyz and /metrics: for whoever keeps this process alive, sends it traffic, or watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.operation import AWAY, JSON, STATUS, Operation, Reply, Route
from twofold.gateway.http.threads import Threads
from twofold.kernel.builds import Builds
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.members import names_of
from twofold.kernel.ports import Clock, CommandQueue, History, Leases, Rows
from twofold.kernel.rows import Generation
from twofold.readmodels.stores.answering import is_awaited, is_yet_to_answer

FRESH_SECONDS = 1.0
PROBE_SECONDS_MAX = 2.0

Exposition = Callable[[], tuple[bytes, str]]
"""What Prometheus scrapes, and its media type."""

LIVE = Operation(name="live", tag="health", summary="Whether the process is up", replies={200: Reply("It is.", STATUS)})
READY = Operation(
    name="ready", tag="health", summary="Whether it can do its work", replies={200: Reply("It can.", STATUS)}, problems=AWAY
)
METRICS = Operation(
    name="metrics",
    tag="health",
    summary="For Prometheus",
    replies={200: Reply("The exposition.", {"type": "string"}, media_types=("text/plain",))},
    problems=AWAY,
)


class HealthEndpoints:
    def __init__(
        self,
        queue: CommandQueue,
        history: History,
        rows: Rows,
        builds: Builds,
        answers_from: Callable[[str], Generation | None],
        leases: Leases,
        domain: Domain,
        board: OutcomeBoard,
        clock: Clock,
        exposition: Exposition,
        observe_undecided: Callable[[float], None],
        observe_queue_seconds: Callable[[Mapping[int, float]], None],
        threads: Threads,
    ) -> None:
        """`answers_from` names the rows that a view is answered from here, where that is known.

        `observe_undecided` is told the age of the oldest command that came in here and is undecided, 0 when there is none;
        `observe_queue_seconds`, by lane, how long one that comes in now would wait."""
        self._queue = queue
        self._views = domain.views
        self._builds = builds
        self._answers_from = answers_from
        self._is_built = False
        self._names = names_of(domain.commands)
        self._leases = leases
        self._is_understood = False
        self._history = history
        self._rows = rows
        self._board = board
        self._clock = clock
        self._exposition = exposition
        self._observe_undecided = observe_undecided
        self._observe_queue_seconds = observe_queue_seconds
        self._threads = threads
        self._probed_at: float | None = None
        self._missing: Unavailable | None = None

    def routes(self) -> Iterable[Route]:
        return [
            Route("GET", "/livez", self.live, (LIVE,)),
            Route("GET", "/readyz", self.ready, (READY,)),
            Route("GET", "/metrics", self.metrics, (METRICS,)),
        ]

    async def live(self, request: web.Request) -> web.Response:
        return _ok()

    async def ready(self, request: web.Request) -> web.Response:
        """Raises Unavailable with the first neighbour that does not answer; asked at most once a second."""
        if (refusal := self._queue.refusal()) is not None:
            raise refusal
        now = asyncio.get_running_loop().time()
        if self._probed_at is None or now - self._probed_at > FRESH_SECONDS:
            self._missing = await self._probe()
            self._probed_at = now
        if self._missing is not None:
            raise self._missing.again()
        return _ok()

    async def metrics(self, request: web.Request) -> web.Response:
        undecided = await self._board.undecided()
        seconds = (self._clock.now() - undecided[0].accepted_at).total_seconds() if undecided else 0.0
        self._observe_undecided(max(0.0, seconds))
        self._observe_queue_seconds(self._queue.queue_seconds())
        body, media_type = await self._threads.run(self._exposition)
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def _probe(self) -> Unavailable | None:
        probes: tuple[tuple[Neighbour, Callable[[], object]], ...] = (
            (Neighbour.LOG, self._history.require_writable),
            (Neighbour.ROWS, self._rows.positions),
            (Neighbour.LOG, self._require_understood),
            (Neighbour.ROWS, self._require_built),
        )
        for neighbour, call in probes:
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    await self._threads.run(call)
            except Unavailable as error:
                return error
            except TimeoutError:
                return Unavailable(neighbour)
        return None

    def _require_understood(self) -> None:
        """Some living worker knows what comes in here, or did once: one that was away finds its commands. Raises Unavailable."""
        if not self._is_understood:
            workers = [member for member in self._leases.members() if member.room == "workers"]
            if not any(self._names <= member.knows for member in workers):
                reason = "no living worker knows every command" if workers else "no worker is alive"
                raise Unavailable(Neighbour.WORKERS, reason, detail="start workers of this version before its gateways")
            self._is_understood = True

    def _require_built(self) -> None:
        """The rows that are to answer here are built, and do answer, or did once: what is deployed later, or built anew, is the
        affair of others. A store that is away has nothing to be waited for. Raises Unavailable."""
        if not self._is_built:
            builds = self._builds.builds(list(self._views))
            for name, view in self._views.items():
                mine = [build for build in builds if build.generation.view == name]
                if is_awaited(view, mine) or is_yet_to_answer(view, mine, self._answers_from(name)):
                    detail = f"{name}; start projectors of this version before its gateways"
                    raise Unavailable(Neighbour.ROWS, "rows are being built", detail=detail)
            self._is_built = True


def _ok() -> web.Response:
    return web.Response(body=b'{"status":"ok"}', content_type=JSON, headers={"Cache-Control": "no-store"})
