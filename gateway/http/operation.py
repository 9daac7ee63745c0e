"""What a call is, said once beside the function that answers it: the router and the document are both made from it.

    endpoints ── routes() ──> Route ──> aiohttp's router
                                └─ Operation ──> documents/openapi.py ──> /openapi.json

A shape is a Python type, or a JSON schema that has Python types in place of schemas: the document gives each type its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"

NUMBER_MAX = 2**63 - 1
"""Positions and versions are 64 bits wide wherever they are stored."""
TEXT_CHARS_MAX = 1_000

Json = dict[str, Any]
Shape = Any
Call = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expected = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

TEXT: Json = {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX}
COUNT: Json = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
OBJECT: Json = {"type": "object"}
STATUS: Json = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}

AWAY = ("unavailable", "overloaded")
"""The problems of every call that asks a neighbour."""

CHANGING = ("cross-site", "unsupported-media-type")
"""The problems of every call that changes something."""


class Parameter(NamedTuple):
    """One parameter: what reads it and what describes it both go by this. `location` is "path", "query" or "header"."""

    location: str
    name: str
    description: str
    schema: Shape


class Reply(NamedTuple):
    """One good answer. `headers` are names that `documents.openapi` knows; one body in each of the media types, if any."""

    description: str
    shape: Shape = None
    headers: tuple[str, ...] = ()
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a client may know of a call. `name` is stable: generated clients call their functions so.

    `body` holds shapes by media type, `replies` by status; `problems` are names of problem types. `fills` gives parts of the
    route's path their values, for a route that stands for many calls: one for each command, one for each view.
    """

    name: str
    tag: str
    summary: str
    replies: Mapping[int, Reply]
    problems: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Shape] = field(default_factory=dict)
    description: str | None = None
    fills: Mapping[str, str] = field(default_factory=dict)


class Route(NamedTuple):
    """One entry of the router. Without operations it is a page or a part of one, and stands in no document."""

    method: str
    path: str
    call: Call
    operations: tuple[Operation, ...] = ()

    def definition(self, expected: Expected) -> web.RouteDef:
        """`expected` answers what a request expects before its body is read."""
        if self.method == "GET":
            return web.get(self.path, self.call, expect_handler=expected)
        return web.route(self.method, self.path, self.call, expect_handler=expected)
