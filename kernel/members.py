"""A living process, as the others of its deployment see it: what it is, and what it knows.

What a member knows is a set of names: of every command of its domain, `PlaceOrder`, of every field that may be sent with
one, `PlaceOrder.lines.sku`, of every event in every version, `OrderPlaced/2`, and of the set of inline views it folds. Whoever
knows all the names in a command and in the events of its stream can decide it; whoever folds what the log asks for can append.
Who knows WHOLE_VIEWS shares the slices of views by whole views, if all others of the room know it, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from msgspec import inspect

from twofold.kernel.messages import Command

_INLINE_VIEWS = "inline views "
WHOLE_VIEWS = "whole views"


class Member(msgspec.Struct, frozen=True):
    """`name` is one no other process has: its host, its process id and a random part, joined by dashes. It stands by when it
    wants a share of what its room does, and has none. What comes last is what others see of it: no member says so of itself."""

    room: str
    name: str
    version: str = ""
    knows: frozenset[str] = frozenset()
    is_standby: bool = False
    since: datetime | None = None
    last_seen: datetime | None = None
    holds: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return self.name.rsplit("-", 2)[0]

    @property
    def pid(self) -> int:
        """0 when its name does not say."""
        pid = self.name.rsplit("-", 2)[1:2]
        return int(pid[0]) if pid and pid[0].isdigit() else 0


def names_of(commands: Mapping[str, type[Command]]) -> frozenset[str]:
    """The names of these commands and of their fields."""
    return frozenset(
        name for tag, command in commands.items() for name in (tag, *_fields(tag, inspect.type_info(command), frozenset()))
    )


def event_names_of(readable: Mapping[str, int]) -> frozenset[str]:
    """The names of these events, in every version that can be read; the last of which is given."""
    return frozenset(event_name(tag, version) for tag, last in readable.items() for version in range(1, last + 1))


def event_name(event_type: str, schema_version: int) -> str:
    return f"{event_type}/{schema_version}"


def inline_views_name(number: int) -> str:
    """Of a set of inline views, by its number (kernel/rows.py)."""
    return f"{_INLINE_VIEWS}{number}"


def is_inline_views_name(name: str) -> bool:
    return name.startswith(_INLINE_VIEWS)


def name_of(command_type: str, pointer: str) -> str:
    """The name of the field at a JSON pointer into a command."""
    return ".".join([command_type, *(step for step in pointer.split("/")[1:] if not step.isdigit() and step != "...")])


def _fields(prefix: str, info: inspect.Type, within: frozenset[type]) -> Iterator[str]:
    if isinstance(info, inspect.StructType):
        if info.cls in within:
            return
        for field in info.fields:
            yield (name := f"{prefix}.{field.encode_name}")
            yield from _fields(name, field.type, within | {info.cls})
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _fields(prefix, one, within)
    elif isinstance(info, inspect.TupleType):
        for one in info.item_types:
            yield from _fields(prefix, one, within)
    elif isinstance(info, inspect.CollectionType):
        yield from _fields(prefix, info.item_type, within)
    elif isinstance(info, inspect.DictType):
        yield from _fields(prefix, info.value_type, within)
