"""The OpenAPI paths that every deployment has, whatever its domain: the log, lag, what is parked, health, documents."""

from __future__ import annotations

from twofold.gateway.documents.parts import (
    COUNT,
    LAST_EVENT_ID,
    LIMIT,
    STREAM,
    TEXT,
    Json,
    answer,
    parameter,
    problems,
    ref,
)

_ANY: Json = {"type": "object"}
_REF = parameter("path", "ref", "As listed by /parked: `command-{id}` or `key-{view}-{key}`.", TEXT, required=True)
_AFTER = parameter("query", "after", "Only what comes after this position.", COUNT)


def _get(operation: str, tag: str, summary: str, responses: Json, *parameters: Json) -> Json:
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "parameters": list(parameters),
            "responses": responses,
        }
    }


def _post(operation: str, summary: str, responses: Json) -> Json:
    return {
        "post": {"operationId": operation, "tags": ["parked"], "summary": summary, "parameters": [_REF], "responses": responses}
    }


def _text(media_type: str, description: str) -> Json:
    return {"200": {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


_PARKED: Json = {
    "type": "object",
    "required": ["commands", "keys"],
    "properties": {"commands": {"type": "array", "items": _ANY}, "keys": {"type": "array", "items": _ANY}},
}
_VIEWS: Json = {"type": "object", "required": ["views"], "properties": {"views": {"type": "array", "items": ref("ViewState")}}}
_STATUS: Json = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
_ASKED = {**problems("not-parked", "malformed", "unavailable")}

PLATFORM: Json = {
    "/views": _get(
        "views",
        "views",
        "Every view, and how far it is",
        {"200": answer("The views.", _VIEWS), **problems("malformed", "unavailable")},
    ),
    "/lag": _get(
        "lag",
        "views",
        "How far every view is behind the log",
        {"200": answer("The lag.", ref("Lag")), **problems("malformed", "unavailable")},
    ),
    "/streams/{stream}": _get(
        "stream",
        "log",
        "The facts of one aggregate",
        {
            "200": answer("Events by version.", ref("StreamPage"), "ETag", "Link"),
            **problems("malformed", "no-such-stream", "unavailable"),
        },
        STREAM,
        parameter("query", "from", "The first version wanted.", COUNT | {"minimum": 1}),
        LIMIT,
    ),
    "/streams/{stream}/state": _get(
        "streamState",
        "log",
        "The fold of one aggregate's facts, now or then",
        {"200": answer("The state.", ref("StreamState")), **problems("malformed", "no-such-stream", "unavailable")},
        STREAM,
        parameter("query", "version", "After this version.", COUNT),
        parameter("query", "at", "As it was at this time; not together with version.", {"type": "string", "format": "date-time"}),
    ),
    "/events": _get(
        "events",
        "log",
        "The log, by position",
        {"200": answer("Events by position.", ref("LogPage"), "Link", stream=True), **problems("malformed", "unavailable")},
        _AFTER,
        LIMIT,
        parameter("query", "type", "Only events of these types, with commas between them.", TEXT),
        LAST_EVENT_ID,
    ),
    "/parked": _get(
        "parked",
        "parked",
        "Commands and row keys that wait because of a bug",
        {"200": answer("What is parked.", _PARKED), **problems("malformed", "unavailable")},
        parameter("query", "after", "Only commands parked after the one with this number.", COUNT),
        LIMIT,
    ),
    "/parked/{ref}": _get("parkedOne", "parked", "One of them, with its context", {"200": answer("It.", _ANY), **_ASKED}, _REF),
    "/parked/{ref}/retry": _post(
        "retryParked", "Try again, against the state as it is now", {"202": answer("Asked.", _STATUS), **_ASKED}
    ),
    "/parked/{ref}/discard": _post(
        "discardParked", "Give it up for good", {"200": answer("Done.", _STATUS), "202": answer("Asked.", _STATUS), **_ASKED}
    ),
    "/livez": _get("live", "health", "Whether the process is up", {"200": answer("It is.", _STATUS)}),
    "/readyz": _get(
        "ready", "health", "Whether it can do its work", {"200": answer("It can.", _STATUS), **problems("unavailable")}
    ),
    "/metrics": _get(
        "metrics", "health", "For Prometheus", {**_text("text/plain", "The exposition."), **problems("unavailable")}
    ),
    "/openapi.json": _get("openapi", "documents", "This document", {"200": answer("OpenAPI 3.1.", _ANY)}),
    "/asyncapi.json": _get("asyncapi", "documents", "What travels behind the gateway", {"200": answer("AsyncAPI 3.0.", _ANY)}),
    "/docs": _get("docs", "documents", "This document, for people", _text("text/html", "A page.")),
    "/console": _get("console", "documents", "Rates and lag, as they move", _text("text/html", "A page.")),
}
