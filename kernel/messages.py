"""What a domain says: commands (wishes, strict) and events (facts, tolerant).

The wire name of a message is its class name unless it declares `tag`. It is on disk and on the broker for ever:
whoever renames a class keeps the old name as its tag.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """A command. Unknown fields are refused."""

    tag: ClassVar[str]


class Event(msgspec.Struct, frozen=True):
    """A fact. Unknown fields are ignored, so an older reader survives a newer writer.

    `schema_version` counts the shapes this event has had; older ones are brought up by the domain's `UPCASTERS`, and later ones,
    where code has to run beside or after a version that writes them, brought back by its `DOWNCASTERS`.
    """

    tag: ClassVar[str]
    schema_version: ClassVar[int] = 1


def tag_of(message: type[Command] | type[Event]) -> str:
    """The stable wire name of a message class."""
    return str(message.__dict__.get("tag", message.__name__))
