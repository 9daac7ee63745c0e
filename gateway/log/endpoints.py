"""GET /streams/{stream}, GET /streams/{stream}/state and GET /events: the facts themselves, and the fold of one stream.

History (on a thread) ──> events as they were written; or codec (upcast) ──> decider.fold ──> state then
Accept: text/event-stream on /events ──> following.py
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from aiohttp import web

from twofold.gateway.http.answers import LogPage, StreamPage, StreamState, encode, shown
from twofold.gateway.http.event_streams import OpenEventStreams
from twofold.gateway.http.headers import LAST_EVENT_ID, wants_events
from twofold.gateway.http.operation import AWAY, COUNT, EVENT_STREAM, JSON, NUMBER_MAX, TEXT, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import LIMIT, STREAM, Params, path_text
from twofold.gateway.http.threads import Threads
from twofold.gateway.log.following import LogFollowers, Place
from twofold.kernel.codec import Codec
from twofold.kernel.decider import AnyDecider
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Malformed
from twofold.kernel.ports import History

LIMIT_DEFAULT = 100
FOLDED_AT_ONCE = 1_000


FROM = Parameter("query", "from", "The first version wanted.", COUNT | {"minimum": 1})
VERSION = Parameter("query", "version", "After this version.", COUNT)
AT = Parameter("query", "at", "As it was at this time; not together with version.", {"type": "string", "format": "date-time"})
AFTER = Parameter("query", "after", "Only what comes after this position.", COUNT)
TYPE = Parameter("query", "type", "Only events of these types, with commas between them.", TEXT)

STREAM_OPERATION = Operation(
    name="stream",
    tag="log",
    summary="The facts of one aggregate",
    parameters=(STREAM, FROM, LIMIT),
    replies={200: Reply("Events by version.", StreamPage, ("ETag", "Link"))},
    problems=("malformed", "no-such-stream", *AWAY),
)
STATE_OPERATION = Operation(
    name="streamState",
    tag="log",
    summary="The fold of one aggregate's facts, now or then",
    parameters=(STREAM, VERSION, AT),
    replies={200: Reply("The state.", StreamState)},
    problems=("malformed", "no-such-stream", *AWAY),
)
LOG_OPERATION = Operation(
    name="events",
    tag="log",
    summary="The log, by position",
    parameters=(AFTER, LIMIT, TYPE, LAST_EVENT_ID),
    replies={200: Reply("Events by position.", LogPage, ("Link",), (JSON, EVENT_STREAM))},
    problems=("malformed", *AWAY),
)


class LogEndpoints:
    def __init__(
        self,
        domain: Domain,
        codec: Codec,
        history: History,
        threads: Threads,
        streams: OpenEventStreams,
        followers: LogFollowers,
    ) -> None:
        self._domain = domain
        self._codec = codec
        self._history = history
        self._threads = threads
        self._streams = streams
        self._followers = followers

    def routes(self) -> Iterable[Route]:
        return [
            Route("GET", "/streams/{stream}", self.stream, (STREAM_OPERATION,)),
            Route("GET", "/streams/{stream}/state", self.state, (STATE_OPERATION,)),
            Route("GET", "/events", self.log, (LOG_OPERATION,)),
        ]

    async def stream(self, request: web.Request) -> web.Response:
        params = Params(request, *STREAM_OPERATION.parameters)
        stream = path_text(request, STREAM)
        first = params.number(FROM, 1)
        limit = params.number(LIMIT, LIMIT_DEFAULT)

        def read() -> StreamPage:
            events = self._history.stream(stream, first - 1, limit)
            return StreamPage(stream, self._history.version(stream), [shown(event) for event in events])

        page = await self._threads.run(read)
        if page.version == 0:
            raise Problem("no-such-stream", "nothing stands in it")
        headers = {"ETag": f'"{page.version}"', "Cache-Control": "no-cache"}
        if page.events and page.events[-1].version < page.version:
            following = request.rel_url.update_query({"from": str(page.events[-1].version + 1)})
            headers["Link"] = f'<{following}>; rel="next"'
        return web.Response(body=encode(page), content_type=JSON, headers=headers)

    async def state(self, request: web.Request) -> web.Response:
        params = Params(request, *STATE_OPERATION.parameters)
        stream = path_text(request, STREAM)
        version, until = params.number_or_none(VERSION), params.time(AT)
        if version is not None and until is not None:
            raise Malformed("either version or at, not both")
        decider = self._domain.decider_of_stream(stream)
        if decider is None:
            raise Problem("no-such-stream", "no decider has streams of this name")
        body = await self._threads.run(lambda: self._folded(decider, stream, version, until))
        return web.Response(body=body, content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def log(self, request: web.Request) -> web.StreamResponse:
        params = Params(request, *LOG_OPERATION.parameters, repeatable=TYPE)
        after = params.number(AFTER, 0)
        limit = params.number(LIMIT, LIMIT_DEFAULT)
        types = params.texts(TYPE) or None
        for name in types or ():
            if name not in self._domain.events:
                raise Malformed(f"there is no event {name!r}; those are: {', '.join(self._domain.events)}")
        if wants_events(request.method, request.headers):
            return await self._follow(request, after, limit, types)
        page, head = await self._threads.run(lambda: (self._history.page(after, limit, types), self._history.head()[0]))
        headers = {"Cache-Control": "no-cache"}
        following = max(after, page.through)
        if following < head:
            headers["Link"] = f'<{request.rel_url.update_query(after=str(following))}>; rel="next"'
        answer = LogPage([shown(event) for event in page.events], following, head)
        return web.Response(body=encode(answer), content_type=JSON, headers=headers)

    async def _follow(self, request: web.Request, after: int, limit: int, types: list[str] | None) -> web.StreamResponse:
        async with self._streams.open(request) as stream:
            resumed = stream.last_event_id or ""
            if resumed.isascii() and resumed.isdigit() and int(resumed) <= NUMBER_MAX:
                after = int(resumed)
            await stream.begin()
            await self._followers.follow(stream, Place(after, limit, tuple(types) if types else None))
        return stream.response

    def _folded(self, decider: AnyDecider, stream: str, version: int | None, until: datetime | None) -> bytes:
        """Blocking. Raises Problem when the stream has not got that far."""
        state, reached = decider.initial, 0
        while reached != version:
            events = self._history.stream(stream, reached, FOLDED_AT_ONCE, version, until)
            state = decider.fold([self._codec.event(event) for event in events], state)
            reached = events[-1].version if events else reached
            if len(events) < FOLDED_AT_ONCE:
                break
        if version not in (None, reached) or (reached == 0 and version is None and self._history.version(stream) == 0):
            raise Problem("no-such-stream", f"the stream has {reached} events")
        return encode(StreamState(stream, reached, state))
