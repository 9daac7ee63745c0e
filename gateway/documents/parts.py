"""The pieces of the OpenAPI document that many calls share: problems, headers, parameters, bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.gateway.http.body import JSON
from twofold.gateway.http.headers import KEY_CHARS_MAX, NUMBER_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX
from twofold.gateway.http.params import LIMIT_MAX, STREAM_CHARS_MAX, TEXT_CHARS_MAX
from twofold.gateway.http.problem import KINDS, MEDIA_TYPE

Json = dict[str, Any]

COUNT: Json = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "An RFC 9457 problem. `type` is stable; what else there is depends on it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [f"/problems/{name}" for name in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "The domain's own, stable word for why not."},
        "details": {"type": "object"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "command_id": {"type": "string"},
        "view": {"type": "string"},
        "required": {"type": ["integer", "null"], "description": "The position the view must reach; null while undecided."},
        "position": {"type": "integer"},
        "state": {"type": "string", "enum": ["pending", "behind", "parked"]},
    },
}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(place: str, name: str, description: str, schema: Json, required: bool = False) -> Json:
    return {"in": place, "name": name, "description": description, "schema": schema, "required": required}


TEXT: Json = {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX}
KEY: Json = {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX}

PREFER = parameter(
    "header",
    "Prefer",
    f"`wait=S`: wait up to S seconds, at most {WAIT_SECONDS_MAX:g}. `handling=lenient`: a stale row is good enough.",
    {
        "type": "string",
        "pattern": "^(wait=[0-9]{1,9}|handling=(lenient|strict))(, *(wait=[0-9]{1,9}|handling=(lenient|strict)))*$",
    },
)
TOKEN = parameter(
    "header",
    "Consistency-Token",
    f"A command's id, or a position: the answer shows it. Waits {WAIT_SECONDS_DEFAULT:g} s unless `Prefer` says otherwise.",
    {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "pattern": "^[0-9]{1,18}$"}]},
)
IDEMPOTENCY_KEY = parameter("header", "Idempotency-Key", "The same key and body: the same command.", KEY)
IF_MATCH = parameter(
    "header", "If-Match", 'The stream\'s expected version, like "3".', {"type": "string", "pattern": '^"[0-9]{1,18}"$'}
)
IF_NONE_MATCH = parameter("header", "If-None-Match", "An ETag: 304 while the row is the same.", TEXT)
CORRELATION_ID = parameter("header", "Correlation-Id", "Written into the events' meta data.", KEY)
LAST_EVENT_ID = parameter("header", "Last-Event-ID", "Of the last server-sent event received.", TEXT)
LIMIT = parameter("query", "limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX})
STREAM = parameter(
    "path", "stream", "The stream's name.", {"type": "string", "minLength": 1, "maxLength": STREAM_CHARS_MAX}, required=True
)

_HEADERS: Mapping[str, str] = {
    "Location": "Where the command's status is.",
    "Consistency-Token": "To be sent along with the next query.",
    "Preference-Applied": "What of `Prefer` was honoured.",
    "View-Position": "The checkpoint the answer was read at.",
    "View-Lag": "Seconds: about how old the oldest event is that this answer does not show.",
    "ETag": "Changes when the answer does.",
    "Link": "The next page, if there is one.",
    "Retry-After": "Seconds.",
    "Allow": "The methods that do apply.",
}


def answer(description: str, schema: Json | None, *headers: str, stream: bool = False) -> Json:
    """A response with these headers; `stream`: it is also there as server-sent events."""
    response: Json = {"description": description}
    if headers:
        response["headers"] = {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}
    if schema is not None:
        response["content"] = {JSON: {"schema": schema}}
        if stream:
            response["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return response


def problems(*names: str) -> Json:
    """Responses by status for these kinds; kinds of one status share one response."""
    responses: Json = {}
    for name in names:
        kind = KINDS[name]
        response = responses.setdefault(
            str(kind.status), {"description": kind.title, "content": {MEDIA_TYPE: {"schema": ref("Problem")}}}
        )
        if kind.title not in response["description"]:
            response["description"] += f"; or: {kind.title}"
        if kind.status == 503:
            response["headers"] = answer("", None, "Retry-After")["headers"]
    return responses
