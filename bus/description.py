"""What travels on the bus, as data that documents are made from: channels, who sends and receives, and each message's type."""

from __future__ import annotations

from typing import Any

from twofold.bus.rabbitmq.topology import (
    ADVANCED,
    APPENDED,
    NEWS,
    RING_QUEUE_ARGUMENTS,
    commands_exchange,
    dead_queue,
    lane_arguments,
    rings_exchange,
)
from twofold.kernel.envelope import Envelope
from twofold.kernel.lanes import Epoch

JSON = "application/json"


def describe(namespace: str, epoch: Epoch, is_embedded: bool) -> dict[str, Any]:
    """AsyncAPI's channels and operations, and the messages by name, each with the Python type that travels as its `payload`.

    Embedded the same things travel, on a table and in process: then there are no bindings to a broker.
    """
    channels: dict[str, Any] = {
        "lane": {
            "address": "{epoch}.{lane}",
            "description": f"Lane = CRC-32 of the stream's name modulo {epoch.lane_count}; first in, first out. "
            f"What nobody could decode is in {dead_queue(namespace)}.",
            "parameters": {
                "epoch": {"description": f"{epoch.number}; one more with each change of the number of lanes"},
                "lane": {"description": f"0 to {epoch.lane_count - 1}"},
            },
            "messages": _named("batch"),
        },
        "rings": {
            "address": rings_exchange(namespace),
            "description": "Transient, not confirmed.",
            "messages": _named(APPENDED, ADVANCED),
        },
    }
    if not is_embedded:
        queue = {"durable": True, "exclusive": False, "autoDelete": False, "arguments": lane_arguments(namespace)}
        commands = {"name": commands_exchange(namespace), "type": "direct", "durable": True, "autoDelete": False}
        heard = {"durable": False, "exclusive": True, "autoDelete": True, "arguments": RING_QUEUE_ARGUMENTS}
        exchange = {"name": rings_exchange(namespace), "type": "direct", "durable": True, "autoDelete": False}
        channels["lane"]["bindings"] = {"amqp": {"is": "routingKey", "exchange": commands, "queue": queue}}
        channels["rings"]["bindings"] = {"amqp": {"is": "routingKey", "exchange": exchange, "queue": heard}}
    return {
        "channels": channels,
        "operations": {
            "sendCommands": {"action": "send", "channel": {"$ref": "#/channels/lane"}},
            "hearRings": {"action": "receive", "channel": {"$ref": "#/channels/rings"}},
        },
        "messages": {
            "batch": _message("Commands of one lane, in order.", list[Envelope]),
            APPENDED: _message("The log has reached this position; commands that were decided.", NEWS[APPENDED]),
            ADVANCED: _message("Slices whose rows are committed up to there.", NEWS[ADVANCED]),
        },
    }


def _named(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _message(summary: str, payload: Any) -> dict[str, Any]:
    return {"summary": summary, "contentType": JSON, "payload": payload}
