"""OpenAPI 3.1 of one deployment: a path for every command and every view, and the platform's own calls.

domain's commands, rows ──┐
answers.py, Problem ──────┴─ msgspec.schema_components ──> components ──> paths name them
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from twofold.gateway.commands.bulk import ITEMS_MAX
from twofold.gateway.documents import parts
from twofold.gateway.documents.parts import Json, answer, parameter, problems, ref
from twofold.gateway.documents.platform import PLATFORM
from twofold.gateway.http import answers
from twofold.gateway.http.body import JSON, NDJSON
from twofold.kernel.domain import Domain
from twofold.kernel.messages import Command
from twofold.kernel.view import AnyView
from twofold.monitoring.lag import Lag

_ANSWERS = (
    answers.Accepted,
    answers.CommandStatus,
    answers.BulkAnswer,
    answers.ViewState,
    answers.StreamPage,
    answers.StreamState,
    answers.LogPage,
    Lag,
)


def openapi(domain: Domain, describe: Mapping[str, object]) -> Json:
    """The document, as JSON-encodable data. `describe` may give `title` and `version`."""
    commands = tuple(domain.commands.values())
    rows = tuple(view.row for view in domain.views.values())
    schemas, components = msgspec.json.schema_components(
        (*commands, *rows, *_ANSWERS), ref_template="#/components/schemas/{name}", schema_hook=lambda _: {}
    )
    named = dict(zip((*commands, *rows, *_ANSWERS), schemas, strict=True))
    paths: Json = {}
    for tag, command in domain.commands.items():
        paths[f"/commands/{tag}"] = {"post": _send(tag, command, named[command])}
    paths["/commands"] = {"post": _send_many(domain)}
    paths["/commands/{command_id}"] = {"get": _command_status()}
    for name, view in domain.views.items():
        paths[f"/views/{name}/{{key}}"] = {"get": _row(view, named[view.row])}
        paths[f"/views/{name}"] = {"get": _page(view, named[view.row])}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": str(describe.get("title", domain.name)),
            "version": str(describe.get("version", "0")),
            "description": "Commands are commands: what was answered 202 is not lost. Views answer, and say how old they are.",
        },
        "paths": paths | PLATFORM,
        "components": {"schemas": {**components, "Problem": parts.PROBLEM}},
    }


def _send(tag: str, command: type[Command], schema: Json) -> Json:
    return {
        "operationId": f"send{tag}",
        "tags": ["commands"],
        "summary": tag,
        "description": _first_sentence(command),
        "parameters": [parts.PREFER, parts.IDEMPOTENCY_KEY, parts.IF_MATCH, parts.CORRELATION_ID],
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
        "responses": {
            "200": answer(
                "Decided while you waited.", ref("CommandStatus"), "Location", "Consistency-Token", "Preference-Applied"
            ),
            "202": answer("Durable; decided soon.", ref("Accepted"), "Location", "Consistency-Token"),
            **problems(
                "malformed",
                "too-slow",
                "rejected",
                "stream-moved",
                "too-large",
                "unsupported-media-type",
                "key-reused",
                "unavailable",
            ),
        },
    }


def _send_many(domain: Domain) -> Json:
    item: Json = {
        "type": "object",
        "required": ["type", "data"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": list(domain.commands)},
            "data": {"type": "object"},
            "idempotency_key": {"anyOf": [parts.KEY, {"type": "null"}]},
        },
    }
    content = {
        JSON: {"schema": {"type": "array", "maxItems": ITEMS_MAX, "items": item}},
        NDJSON: {"schema": {"type": "string", "description": "One such object a line."}},
    }
    return {
        "operationId": "sendMany",
        "tags": ["commands"],
        "summary": f"Up to {ITEMS_MAX} commands at once; each is accepted or refused by itself",
        "requestBody": {"required": True, "content": content},
        "responses": {
            "202": answer("Which were accepted, and which were not.", ref("BulkAnswer")),
            **problems("malformed", "too-slow", "too-large", "unsupported-media-type", "unavailable"),
        },
    }


def _command_status() -> Json:
    schema = {"type": "string", "format": "uuid"}
    return {
        "operationId": "commandStatus",
        "tags": ["commands"],
        "summary": "What became of a command",
        "parameters": [parameter("path", "command_id", "From the 202.", schema, required=True), parts.PREFER],
        "responses": {
            "200": answer("Its status.", ref("CommandStatus"), "Preference-Applied"),
            **problems("malformed", "no-such-command-id", "unavailable"),
        },
    }


def _row(view: AnyView, schema: Json) -> Json:
    return {
        "operationId": f"{view.name}ByKey",
        "tags": ["views"],
        "summary": f"One row of {view.name}",
        "parameters": [
            parameter("path", "key", f"The row's {view.key}.", parts.TEXT, required=True),
            parts.TOKEN,
            parts.PREFER,
            parts.IF_NONE_MATCH,
            parts.LAST_EVENT_ID,
        ],
        "responses": {
            "200": answer("The row.", schema, "View-Position", "View-Lag", "ETag", "Preference-Applied", stream=True),
            "304": answer("The row is the one you have.", None, "View-Position", "View-Lag", "ETag"),
            **problems("malformed", "no-such-row", "view-behind", "unavailable"),
        },
    }


def _page(view: AnyView, schema: Json) -> Json:
    orders = list(dict.fromkeys((*view.orders, *view.indexes, view.key)))
    page = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": {"type": "array", "items": schema}, "next": {"type": ["string", "null"]}},
    }
    fields = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    indexes = [
        parameter("query", name, f"Only rows with this {name}. One index at a time.", _scalar(fields[name]))
        for name in dict.fromkeys((*view.indexes, view.key))
    ]
    order = {"type": "string", "enum": [sign + name for name in orders for sign in ("", "-")]}
    cursor = parameter("query", "cursor", "`next` of the page before; not made by hand.", parts.TEXT)
    return {
        "operationId": view.name,
        "tags": ["views"],
        "summary": f"Rows of {view.name}",
        "parameters": [
            *indexes,
            parameter("query", "order", "`-`: descending.", order),
            parts.LIMIT,
            cursor,
            parts.TOKEN,
            parts.PREFER,
            parts.LAST_EVENT_ID,
        ],
        "responses": {
            "200": answer("A page.", page, "View-Position", "View-Lag", "Link", "Preference-Applied", stream=True),
            **problems("malformed", "view-behind", "unavailable"),
        },
    }


def _scalar(field_type: Any) -> Json:
    schemas, _ = msgspec.json.schema_components((field_type,))
    return dict(schemas[0])


def _first_sentence(command: type[Command]) -> str:
    return (command.__doc__ or "").strip().split("\n\n")[0]
