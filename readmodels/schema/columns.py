"""How a row is kept: one column for each field of its struct, of one of six types that every store orders alike.

A row comes from `View.evolve` and leaves as a tuple of encoded values, in the order of the struct; or it comes from a store as
such a tuple and leaves as the struct. An encoder returns the plain value a store is given; it raises ValueError, TypeError or
OverflowError for what some store could not hold, so that the projector parks the key before a store sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from math import isfinite
from typing import Any, Literal
from zlib import crc32

import msgspec
from msgspec import inspect

from twofold.kernel.codec import refuse_unstorable
from twofold.kernel.errors import Misconfigured
from twofold.kernel.ids import slice_of
from twofold.kernel.rows import STREAM_PREFIX
from twofold.kernel.view import AnyView
from twofold.kernel.zones import utc_decoder

ColumnType = Literal["integer", "truth", "number", "text", "time", "json"]
Encoder = Callable[[Any], Any]
KEY_BYTES_MAX = 1_000
"""A key stands in every index of its table; PostgreSQL takes at most 2,700 bytes an entry, order field included."""
STREAM_PREFIX_END = "!stream0"  # sorts right behind every one of them

INDEXED_BYTES_MAX = 1_000
"""The same bound for a text one may filter or sort by."""
COMPOUND_BYTES_MAX = 1_500
"""What the fields of a compound have between them, in equal parts: the key stands in that entry, too."""
FIELD_BYTES_MAX = 4 << 20
"""One field kept as text or JSON. What is larger is not a row but a document."""
INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One field, the same object wherever these columns are used. Those of type "json" can be neither filtered nor sorted by."""

    name: str
    annotation: Any
    type: ColumnType
    is_nullable: bool
    encode: Encoder
    decode: Encoder | None


class Columns:
    """All columns of a view. Thread-safe. Raises Misconfigured for a key, index or order field of an unusable type."""

    def __init__(self, view: AnyView) -> None:
        self.row = view.row
        self.all = tuple(_columns(view))
        self.by_name = {column.name: column for column in self.all}
        self.key = self.by_name[view.key]
        if self.key.type != "text" or self.key.is_nullable:
            raise Misconfigured(f"view {view.name}: the key field {view.key!r} must be a str")
        self._names = tuple(column.name for column in self.all)
        self._encoders = tuple(column.encode for column in self.all)
        self._decoders = tuple((index, column.decode) for index, column in enumerate(self.all) if column.decode is not None)

    def encode(self, key: str, value: msgspec.Struct) -> tuple[Any, ...]:
        """The row as plain values, in column order. Raises ValueError, naming the field, for what no store is to hold."""
        if getattr(value, self.key.name) != key:
            raise ValueError(f"the row of key {key!r} calls itself {getattr(value, self.key.name)!r}")
        try:
            return tuple([encode(one) for encode, one in zip(self._encoders, self._values_of(value), strict=True)])
        except Exception as error:
            raise ValueError(f"field {self._unencodable(value)}: {error}") from error

    def decode(self, encoded: Sequence[Any]) -> msgspec.Struct:
        """The row in plain values that a store gave back."""
        values = list(encoded)
        for index, decode in self._decoders:
            if values[index] is not None:
                values[index] = decode(values[index])
        row: msgspec.Struct = self.row(**dict(zip(self._names, values, strict=True)))
        return row

    def _values_of(self, value: msgspec.Struct) -> tuple[Any, ...]:
        return tuple([getattr(value, name) for name in self._names])

    def _unencodable(self, value: msgspec.Struct) -> str:
        for column in self.all:
            try:
                column.encode(getattr(value, column.name))
            except Exception:
                return column.name
        return "?"


def _columns(view: AnyView) -> list[Column]:
    described = inspect.type_info(view.row)
    assert isinstance(described, inspect.StructType)
    annotations = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    return [_column(view, field.name, field.type, annotations[field.name]) for field in described.fields]


def _column(view: AnyView, name: str, described: inspect.Type, annotation: Any) -> Column:
    plain, is_nullable = _without_none(described)
    is_indexed = name in (view.key, *view.indexes, *view.orders)
    text_bytes_max = _text_bytes_max(view, name) if is_indexed else FIELD_BYTES_MAX
    column_type, encode, decode = column_type_of(plain, annotation, text_bytes_max)
    if is_indexed and column_type == "json":
        raise Misconfigured(f"view {view.name}: field {name!r} cannot be filtered or sorted by; make it a text, number or time")
    return Column(name, annotation, column_type, is_nullable, nullable(encode) if is_nullable else encode, decode)


def _text_bytes_max(view: AnyView, name: str) -> int:
    return min([INDEXED_BYTES_MAX, *(COMPOUND_BYTES_MAX // len(compound) for compound in view.compounds if name in compound)])


def _without_none(described: inspect.Type) -> tuple[inspect.Type, bool]:
    if not isinstance(described, inspect.UnionType):
        return described, False
    rest = tuple(one for one in described.types if not isinstance(one, inspect.NoneType))
    return (rest[0] if len(rest) == 1 else inspect.UnionType(rest)), len(rest) < len(described.types)


def column_type_of(described: inspect.Type, annotation: Any, text_bytes_max: int) -> tuple[ColumnType, Encoder, Encoder | None]:
    """Its type, what encodes it and, where the plain value is not the field's value already, what decodes it."""
    encode_text = text_encoder(text_bytes_max)
    match described:
        case inspect.BoolType():
            return "truth", _encode_truth, bool
        case inspect.IntType():
            return "integer", _encode_integer, None
        case inspect.FloatType():
            return "number", _encode_number, float
        case inspect.StrType():
            return "text", encode_text, None
        case inspect.DateTimeType():
            return "time", _encode_time, None
        case inspect.DateType():
            return "text", date.isoformat, date.fromisoformat
        case inspect.LiteralType(values=values) if all(isinstance(value, str) for value in values):
            return "text", encode_text, None
        case inspect.LiteralType(values=values) if all(type(value) is int for value in values):
            return "integer", _encode_integer, None
        case inspect.EnumType(cls=cls) if all(isinstance(member.value, str) for member in cls):
            return "text", lambda member: encode_text(_value_of(member)), cls
        case _:
            return "json", _encode_json, utc_decoder(annotation)


def nullable(encode: Encoder) -> Encoder:
    return lambda value: None if value is None else encode(value)


def text_encoder(bytes_max: int) -> Callable[[Any], str]:
    def encode(value: Any) -> str:
        if type(value) is not str:
            raise TypeError(f"a str is expected, not {type(value).__name__}")
        if "\0" in value:
            raise ValueError("a text holds the character NUL")
        if len(value) > bytes_max or (not value.isascii() and len(value.encode()) > bytes_max):
            raise ValueError(f"a text is longer than {bytes_max:,} bytes")
        return value

    return encode


def _encode_truth(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"a bool is expected, not {type(value).__name__}")
    return value


def _encode_integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an int is expected, not {type(value).__name__}")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise OverflowError("an int does not fit in 64 bits")
    return value


def _encode_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"a float is expected, not {type(value).__name__}")
    number = float(value)
    if not isfinite(number):
        raise ValueError("a float is not a finite number")
    return number


def _encode_time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime is expected, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError("a datetime has no time zone")
    return value.astimezone(UTC)


def _encode_json(value: Any) -> str:
    data = msgspec.json.encode(value)
    if len(data) > FIELD_BYTES_MAX:
        raise ValueError(f"a field is longer than {FIELD_BYTES_MAX:,} bytes")
    if rb"\u0000" in data:
        refuse_unstorable(data)
    return data.decode()


def _value_of(member: Any) -> Any:
    if not isinstance(member, Enum):
        raise TypeError(f"a member of an enumeration is expected, not {type(member).__name__}")
    return member.value


_ENCODE_KEY = text_encoder(KEY_BYTES_MAX)


def refuse_key(key: Any) -> None:
    """Raises ValueError or TypeError for what cannot be a row key."""
    if _ENCODE_KEY(key).startswith(STREAM_PREFIX):
        raise ValueError(f"row keys that begin with {STREAM_PREFIX!r} are reserved")


def stream_key(stream: str) -> str:
    """The parked key that stands for a stream; a name too long is cut and made unique by a check sum."""
    key = STREAM_PREFIX + stream.replace("\0", "")
    if len(key.encode()) <= KEY_BYTES_MAX:
        return key
    return f"{key.encode()[: KEY_BYTES_MAX - 9].decode(errors='ignore')}#{crc32(stream.encode()):08x}"


def is_stream_key(key: str) -> bool:
    return key.startswith(STREAM_PREFIX)


def queryable_key(key: str) -> str:
    """The key itself, or, for one that no store can hold, one that no row has."""
    try:
        _ENCODE_KEY(key)
    except ValueError:
        return STREAM_PREFIX
    return key


def slice_for(key: str, slices: int) -> int:
    """The slice a key asked for belongs to, whatever the key."""
    return slice_of(queryable_key(key), slices)
