"""AsyncAPI 3.0 of one deployment: what travels behind the gateway. A fold over what the bus says of itself.

The description's `channels` and `operations` stand as the bus gives them. Each of its `messages` has a `summary`, a
`contentType` and a `payload`, a Python type, whose schema is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.gateway.documents.openapi import COMPONENT, Schemas
from twofold.gateway.http.operation import Json
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope


def asyncapi(domain: Domain, description: Mapping[str, Any], describe: Mapping[str, object]) -> Json:
    """The document, as JSON-encodable data. `describe` may give `title` and `version`."""
    messages = description["messages"]
    payloads = [message["payload"] for message in messages.values()]
    schemas = Schemas([*domain.commands.values(), *domain.events.values(), *payloads])
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": str(describe.get("title", domain.name)),
            "version": str(describe.get("version", "0")),
            "description": "Commands may not be lost: durable lanes, confirmed. Rings may: whoever misses one looks for himself.",
        },
        "channels": description["channels"],
        "operations": description["operations"],
        "components": {
            "messages": {
                name: {**message, "payload": schemas.resolved(message["payload"])} for name, message in messages.items()
            },
            "schemas": schemas.components | _of_this_domain(domain, schemas.components),
        },
    }


def _of_this_domain(domain: Domain, components: Json) -> Json:
    """An envelope carries one of the domain's commands, where its class has raw bytes."""
    envelope = components.get(Envelope.__name__)
    if envelope is None:
        return {}
    commands = [{"$ref": COMPONENT.format(name=command.__name__)} for command in domain.commands.values()]
    named: Json = {"type": {"type": "string", "enum": list(domain.commands)}, "data": {"anyOf": commands}}
    if domain.internal:
        named["type"]["description"] = f"Sent by processes alone: {', '.join(sorted(domain.internal))}."
    return {Envelope.__name__: {**envelope, "properties": envelope["properties"] | named}}
