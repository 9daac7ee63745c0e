"""How a row is kept: one column for each field of its struct, of a type that every store orders alike.

A row comes from `View.evolve` and leaves as a tuple of plain values, one for each column, in the order of the struct; or it
comes from a store as such a tuple and leaves as the struct. Whatever some store could not hold is refused here, in the same
words for all of them, so that the projector parks the key before a store sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from twofold.kernel.errors import Misconfigured
from twofold.kernel.messages import tag_of
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.kinds import FIELD_BYTES_MAX, INDEXED_BYTES_MAX, Keeper, Kind, kept_as, nullable


@dataclass(frozen=True, slots=True)
class Column:
    """One field: `type` is its annotation, `kind` how it is kept. Fields of kind "json" can be neither filtered nor sorted by."""

    name: str
    type: Any
    kind: Kind
    is_nullable: bool
    keep: Keeper
    restore: Keeper | None


class Columns:
    """All columns of a view. Thread-safe. Raises Misconfigured for a key, index or order field of an unusable type."""

    def __init__(self, view: AnyView) -> None:
        self.row = view.row
        self.all = tuple(_columns(view))
        self.by_name = {column.name: column for column in self.all}
        self.key = self.by_name[view.key]
        if self.key.kind != "text" or self.key.is_nullable:
            raise Misconfigured(f"view {view.name}: the key field {view.key!r} must be a str")
        self._names = tuple(column.name for column in self.all)
        self._keepers = tuple(column.keep for column in self.all)
        self._restores = tuple((place, column.restore) for place, column in enumerate(self.all) if column.restore is not None)

    def encode(self, key: str, value: msgspec.Struct) -> tuple[Any, ...]:
        """The row as plain values, in column order. Raises ValueError, naming the field, for what no store is to hold."""
        if getattr(value, self.key.name) != key:
            raise ValueError(f"the row of key {key!r} calls itself {getattr(value, self.key.name)!r}")
        try:
            return tuple([keep(one) for keep, one in zip(self._keepers, self._values_of(value), strict=True)])
        except Exception as error:
            raise ValueError(f"field {self._unkeepable(value)}: {error}") from error

    def decode(self, kept: Sequence[Any]) -> msgspec.Struct:
        """The row in plain values that a store gave back."""
        values = list(kept)
        for place, restore in self._restores:
            if values[place] is not None:
                values[place] = restore(values[place])
        row: msgspec.Struct = self.row(**dict(zip(self._names, values, strict=True)))
        return row

    def _values_of(self, value: msgspec.Struct) -> tuple[Any, ...]:
        return tuple([getattr(value, name) for name in self._names])

    def _unkeepable(self, value: msgspec.Struct) -> str:
        for column in self.all:
            try:
                column.keep(getattr(value, column.name))
            except Exception:
                return column.name
        return "?"


def shape_of(view: AnyView) -> str:
    """What has to stay the same for a stored generation to stay in use: fields, declared questions, and the events listened to.

    The events belong to it, because rows that never saw the past of an event would be wrong for ever.
    """
    fields = ",".join(f"{column.name}:{column.kind}{'?' * column.is_nullable}" for column in Columns(view).all)
    listened = ",".join(sorted(tag_of(event) for event in view.on))
    return "|".join((view.key, fields, ",".join(sorted(view.indexes)), ",".join(sorted(view.orders)), listened))


def _columns(view: AnyView) -> list[Column]:
    described = inspect.type_info(view.row)
    assert isinstance(described, inspect.StructType)
    annotations = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    return [_column(view, field.name, field.type, annotations[field.name]) for field in described.fields]


def _column(view: AnyView, name: str, described: inspect.Type, annotation: Any) -> Column:
    plain, is_nullable = _without_none(described)
    is_indexed = name in (view.key, *view.indexes, *view.orders)
    kind, keep, restore = kept_as(plain, annotation, INDEXED_BYTES_MAX if is_indexed else FIELD_BYTES_MAX)
    if is_indexed and kind == "json":
        raise Misconfigured(
            f"view {view.name}: field {name!r} cannot be filtered or sorted by; make it a text, a number or a time"
        )
    return Column(name, annotation, kind, is_nullable, nullable(keep) if is_nullable else keep, restore)


def _without_none(described: inspect.Type) -> tuple[inspect.Type, bool]:
    if not isinstance(described, inspect.UnionType):
        return described, False
    rest = tuple(one for one in described.types if not isinstance(one, inspect.NoneType))
    return (rest[0] if len(rest) == 1 else inspect.UnionType(rest)), len(rest) < len(described.types)
