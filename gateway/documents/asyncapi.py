"""AsyncAPI 3.0 of one deployment: what travels behind the gateway. Commands on lanes, and the rings that may be lost."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from twofold.gateway.documents.parts import Json, ref
from twofold.kernel.domain import Domain
from twofold.kernel.outcome import Outcome
from twofold.kernel.rows import Progress


def asyncapi(domain: Domain, lanes_total: int, describe: Mapping[str, object]) -> Json:
    """The document, as JSON-encodable data."""
    commands = tuple(domain.commands.values())
    events = tuple(domain.events.values())
    _, components = msgspec.json.schema_components(
        (*commands, *events, Outcome, Progress), ref_template="#/components/schemas/{name}", schema_hook=lambda _: {}
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": str(describe.get("title", domain.name)),
            "version": str(describe.get("version", "0")),
            "description": "Commands may not be lost: durable lanes, confirmed. Rings may: whoever misses one looks for himself.",
        },
        "channels": {
            "lane": {
                "address": "lane.{lane}",
                "description": f"Lane = CRC-32 of the stream's name modulo {lanes_total}; first in, first out.",
                "parameters": {"lane": {"description": f"0 to {lanes_total - 1}"}},
                "messages": {"batch": {"$ref": "#/components/messages/batch"}},
            },
            "rings": {
                "address": "rings",
                "description": "Transient, not confirmed.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ("ring", "advanced", "outcomes")},
            },
        },
        "operations": {
            "sendCommands": {"action": "send", "channel": {"$ref": "#/channels/lane"}},
            "hearRings": {"action": "receive", "channel": {"$ref": "#/channels/rings"}},
        },
        "components": {"messages": _messages(domain), "schemas": {**components, "Envelope": _envelope(domain)}},
    }


def _messages(domain: Domain) -> Json:
    return {
        "batch": _message("Commands of one lane, in order.", {"type": "array", "items": ref("Envelope"), "minItems": 1}),
        "ring": _message("The log has reached this position.", {"type": "integer"}),
        "advanced": _message("Slices whose rows are committed up to there.", {"type": "array", "items": ref("Progress")}),
        "outcomes": _message("Commands that were decided.", {"type": "array", "items": ref("Outcome")}),
    }


def _message(summary: str, payload: Json) -> Json:
    return {"summary": summary, "contentType": "application/json", "payload": payload}


def _envelope(domain: Domain) -> Json:
    """As the kernel's Envelope; `data` is the command itself, which that class keeps as bytes."""
    text: Json = {"type": "string"}
    return {
        "type": "object",
        "required": ["command_id", "type", "stream", "data", "fingerprint", "accepted_at"],
        "properties": {
            "command_id": {"type": "string", "format": "uuid"},
            "type": {"type": "string", "enum": list(domain.commands)},
            "stream": text,
            "data": {"anyOf": [ref(command.__name__) for command in domain.commands.values()]},
            "fingerprint": text,
            "accepted_at": {"type": "string", "format": "date-time"},
            "principal": text | {"default": "anonymous"},
            "correlation_id": text,
            "causation_id": text,
            "expected_version": {"type": "integer", "minimum": 0},
            "attempt": {"type": "integer", "minimum": 1, "default": 1},
        },
    }
