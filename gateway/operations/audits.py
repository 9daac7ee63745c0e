"""POST /views/{view}/audit: the rows of a view compared with a fresh fold of the log, so many keys at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, CHANGING, JSON, TEXT, Operation, Parameter, Reply, Route
from twofold.gateway.http.request import Params, view_of
from twofold.gateway.http.threads import Threads
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.ports import History, ParkedLines, Rows
from twofold.readmodels.projection.audit import DIFFERENCES_MAX, KEYS_MAX, audit

VIEW = Parameter("path", "view", "The view's name.", TEXT)
AFTER = Parameter("query", "after", "`next` of the answer before: the keys behind that one.", TEXT)
KEYS = Parameter(
    "query", "limit", "How many keys are compared in this call.", {"type": "integer", "minimum": 1, "maximum": KEYS_MAX}
)
ROW: Any = {"type": ["object", "null"]}
ANSWER: Any = {
    "type": "object",
    "required": ["checked", "differences", "open", "next", "parked"],
    "properties": {
        "checked": {"type": "integer"},
        "differences": {
            "type": "array",
            "maxItems": DIFFERENCES_MAX,
            "items": {"type": "object", "properties": {"key": TEXT, "expected": ROW, "found": ROW}},
        },
        "open": {"type": "integer", "description": "Keys that moved on too fast to say."},
        "next": {"type": ["string", "null"]},
        "note": {"type": "string", "description": "Why there was nothing to compare."},
        "parked": {"type": "integer", "description": "Of these keys, those whose rows lack events that cannot be folded."},
    },
}
AUDIT = Operation(
    name="audit",
    tag="views",
    summary="Compare rows with a fresh fold of the log",
    description="The whole log is read for each call, and the rows of these keys are folded in memory.",
    parameters=(VIEW, AFTER, KEYS),
    replies={200: Reply("What was found.", ANSWER)},
    problems=("malformed", *CHANGING, "unknown-view", *AWAY),
)


class AuditEndpoint:
    """One audit at a time, in a thread of its own: it takes as long as reading the log does."""

    def __init__(self, domain: Domain, codec: Codec, history: History, rows: Rows, lines: ParkedLines, threads: Threads) -> None:
        self._domain = domain
        self._codec = codec
        self._history = history
        self._rows = rows
        self._lines = lines
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [Route("POST", "/views/{view}/audit", self.post, (AUDIT,))]

    async def post(self, request: web.Request) -> web.Response:
        view = view_of(request, self._domain)
        params = Params(request, AFTER, KEYS)
        after, limit = params.text(AFTER) or "", params.number(KEYS, KEYS_MAX)
        found = await self._threads.run(lambda: audit(self._history, self._rows, self._lines, view, self._codec, after, limit))
        told = {name: value for name, value in msgspec.structs.asdict(found).items() if name != "note" or value}
        return web.Response(body=encode(told), content_type=JSON, headers={"Cache-Control": "no-store"})
