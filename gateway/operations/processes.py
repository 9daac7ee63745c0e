"""GET /processes and its kin: which there are, and what their instances are at. interventions.py acts on one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, COUNT, JSON, OBJECT, TEXT, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import LIMIT, ROW_KEY, Params, path_text
from twofold.gateway.http.threads import Threads
from twofold.gateway.operations.instances import Instances
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.questions import CURSOR, LIMIT_DEFAULT
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Malformed
from twofold.kernel.messages import tag_of
from twofold.kernel.ports import Clock, ParkedKeys, Rows
from twofold.kernel.process import AnyProcess
from twofold.kernel.rows import CURSOR_CHARS_MAX
from twofold.monitoring.instances import COUNTED_MAX, STATES, count_instances, view_of_instances

PROCESS = Parameter("path", "name", "The process' name.", TEXT)
KEY = ROW_KEY._replace(description="What `key` of the process names the instance by.")
STATE = Parameter("query", "state", "Only instances in this state.", {"type": "string", "enum": list(STATES)})


class ProcessEndpoints:
    def __init__(
        self,
        domain: Domain,
        rows: Rows,
        parked: ParkedKeys,
        instances: Instances,
        lag: LagReports,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._domain = domain
        self._rows = rows
        self._parked = parked
        self._instances = instances
        self._lag = lag
        self._clock = clock
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [
            Route("GET", "/processes", self.get_all, (ALL,)),
            Route("GET", "/processes/{name}", self.get_page, (SOME,)),
            Route("GET", "/processes/{name}/{key}", self.get, (ONE,)),
        ]

    async def get_all(self, request: web.Request) -> web.Response:
        Params(request)
        told = await self._threads.run(lambda: [self._process(process) for process in self._domain.processes.values()])
        lag = (await self._lag.current()).lag.views
        return _answer({"processes": [one | msgspec.structs.asdict(lag[one["view"]]) for one in told]})

    async def get_page(self, request: web.Request) -> web.Response:
        process = process_of(request, self._domain)
        params = Params(request, *SOME.parameters)
        state, limit, cursor = params.text(STATE), params.number(LIMIT, LIMIT_DEFAULT), params.text(CURSOR, CURSOR_CHARS_MAX)
        if state is not None and state not in STATES:
            raise Malformed(f"state is one of {', '.join(STATES)}", "/state")
        items, following = await self._threads.run(lambda: self._instances.page(process, state, limit, cursor))
        response = _answer({"items": items, "next": following})
        if following is not None:
            response.headers["Link"] = f'<{request.rel_url.update_query(cursor=following)}>; rel="next"'
        return response

    async def get(self, request: web.Request) -> web.Response:
        process, key = process_of(request, self._domain), path_text(request, ROW_KEY)
        Params(request)
        return _answer(await self._threads.run(lambda: self._instances.whole(process, key)))

    def _process(self, process: AnyProcess) -> dict[str, Any]:
        counts = count_instances(self._rows, self._parked, process, self._clock.now())
        named = {"name": process.name, "view": view_of_instances(process), "hears": [tag_of(event) for event in process.on]}
        return named | {"limit_seconds": process.limit_seconds} | msgspec.structs.asdict(counts)


def process_of(request: web.Request, domain: Domain) -> AnyProcess:
    """The process that the path names. Raises Problem unknown-process."""
    process = domain.processes.get(request.match_info[PROCESS.name])
    if process is None:
        raise Problem("unknown-process", f"those there are: {', '.join(domain.processes) or 'none'}")
    return process


def _answer(value: Any) -> web.Response:
    return web.Response(body=encode(value), content_type=JSON, headers={"Cache-Control": "no-store"})


NUMBER: Any = {"type": "number"}
TIME: Any = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Any = {"type": ["string", "null"], "format": "date-time"}
TOLD: Any = {
    "type": "object",
    "required": ["process", "key", "status", "stuck_because", "since", "heard_at", "due"],
    "properties": {
        "process": TEXT,
        "key": TEXT,
        "status": {"enum": list(STATES)},
        "stuck_because": {"type": "array", "items": {"enum": ["call-given-up", "silent", "parked"]}},
        "since": {**TIME_OR_NULL, "description": "When it began; null when its very first event is parked."},
        "heard_at": {**TIME_OR_NULL, "description": "When the last event that concerns it was recorded."},
        "due": {**TIME_OR_NULL, "description": "When the first of its timers is; null when it has none."},
    },
}
WHOLE: Any = {
    "type": "object",
    "required": [*TOLD["required"], "state", "timers", "given_up", "parked", "limit_seconds", "stream", "links"],
    "properties": TOLD["properties"]
    | {
        "state": {"type": ["object", "null"], "description": "What the process knows of it."},
        "timers": {"type": "array", "items": {"type": "object", "properties": {"timer": {"type": "string"}, "due": TIME}}},
        "given_up": {"type": "array", "items": OBJECT, "description": "Calls that were tried in vain, with their errors."},
        "parked": {"type": ["object", "null"], "description": "Why the next event that concerns it cannot be folded."},
        "limit_seconds": NUMBER,
        "correlation_id": {"type": ["string", "null"]},
        "stream": TEXT,
        "links": {"type": "object", "properties": {"stream": TEXT, "row": TEXT}},
    },
}
PROCESSES: Any = {
    "type": "object",
    "required": ["name", "view", "hears", "limit_seconds", "instances", "at_least", "timers_due_seconds", "position", "state"],
    "properties": {
        "name": TEXT,
        "view": {**TEXT, "description": "Its instances are the rows of this view."},
        "hears": {"type": "array", "items": TEXT, "description": "The events it hears, beside those of its own instances."},
        "limit_seconds": {**NUMBER, "description": "Without an event for so long, an instance is told as stuck."},
        "instances": {"type": "object", "additionalProperties": COUNT, "description": "How many, by state."},
        "at_least": {
            "type": "array",
            "items": TEXT,
            "description": f"States of which there are more: {COUNTED_MAX} are counted.",
        },
        "timers_due_seconds": {**NUMBER, "description": "How long the timer that is due for longest has been; 0: none is."},
        "position": COUNT,
        "lag_events": COUNT,
        "lag_seconds": NUMBER,
        "state": TEXT,
    },
}
ALL = Operation(
    name="processes",
    tag="processes",
    summary="Every process: its instances by state, and how far it is",
    replies={
        200: Reply(
            "The processes.",
            {"type": "object", "required": ["processes"], "properties": {"processes": {"type": "array", "items": PROCESSES}}},
        )
    },
    problems=("malformed", *AWAY),
)
SOME = Operation(
    name="instances",
    tag="processes",
    summary="Instances of a process",
    description="Of a state, those come first that were heard of longest ago; of those that are over, last. All of them: by key.",
    parameters=(PROCESS, STATE, LIMIT, CURSOR),
    replies={
        200: Reply(
            "A page, which may have fewer than were asked for and not be the last.",
            {
                "type": "object",
                "required": ["items", "next"],
                "properties": {"items": {"type": "array", "items": TOLD}, "next": {"type": ["string", "null"]}},
            },
            ("Link",),
        )
    },
    problems=("malformed", "unknown-process", *AWAY),
)
ONE = Operation(
    name="instance",
    tag="processes",
    summary="One of them, and what it waits for",
    parameters=(PROCESS, KEY),
    replies={200: Reply("It.", WHOLE)},
    problems=("malformed", "unknown-process", "no-such-instance", *AWAY),
)
