"""What of the shop is on disk and on the wire for ever, one line each. `python -m tests.guards.wire_names` prints it.

A change in `wire_names.txt` is a change for everybody who has stored an event or written a client: fields may be added with a
default, an event's other changes need a new schema version and an upcaster.
"""

from __future__ import annotations

import msgspec

from twofold.kernel.domain import Domain, load_domain


def lines(domain: Domain) -> list[str]:
    """Deciders, commands, events and views, each kind sorted."""
    return [
        *sorted(f"stream {decider.name}-{{{decider.key}}}" for decider in domain.deciders),
        *sorted(f"command {tag} {_fields(command)}" for tag, command in domain.commands.items()),
        *sorted(f"event {tag}/{event.schema_version} {_fields(event)}" for tag, event in domain.events.items()),
        *sorted(f"view {view.name}[{view.key}] {_fields(view.row)}" for view in domain.views.values()),
    ]


def _fields(struct: type[msgspec.Struct]) -> str:
    """Names as encoded; = marks those that may be left out."""
    return " ".join(field.encode_name + ("" if field.required else "=") for field in msgspec.structs.fields(struct))


if __name__ == "__main__":
    print(*lines(load_domain("twofold.shop")), sep="\n")
