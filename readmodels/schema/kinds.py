"""The six kinds of values a column may hold, and what turns a field's value into one of them.

A keeper takes the value that `evolve` put into a field and returns the plain value a store is given; it raises ValueError,
TypeError or OverflowError for what some store could not hold, so that all stores refuse alike.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from math import isfinite
from typing import Any, Literal

import msgspec
from msgspec import inspect

from twofold.kernel.codec import refuse_unstorable

Kind = Literal["integer", "truth", "number", "text", "time", "json"]
Keeper = Callable[[Any], Any]

KEY_BYTES_MAX = 1_000
"""A key stands in every index of its table; PostgreSQL takes at most 2,700 bytes an entry, order field included."""

INDEXED_BYTES_MAX = 1_000
"""The same bound for a text one may filter or sort by."""

FIELD_BYTES_MAX = 4 << 20
"""One field kept as text or JSON. What is larger is not a row but a document."""

INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1


def kept_as(described: inspect.Type, annotation: Any, text_bytes_max: int) -> tuple[Kind, Keeper, Keeper | None]:
    """Kind, keeper and, where the plain value is not the field's value already, what restores it."""
    keep_text = text_keeper(text_bytes_max)
    match described:
        case inspect.BoolType():
            return "truth", _keep_truth, bool
        case inspect.IntType():
            return "integer", _keep_integer, None
        case inspect.FloatType():
            return "number", _keep_number, float
        case inspect.StrType():
            return "text", keep_text, None
        case inspect.DateTimeType():
            return "time", _keep_time, None
        case inspect.DateType():
            return "text", date.isoformat, date.fromisoformat
        case inspect.LiteralType(values=values) if all(isinstance(value, str) for value in values):
            return "text", keep_text, None
        case inspect.LiteralType(values=values) if all(type(value) is int for value in values):
            return "integer", _keep_integer, None
        case inspect.EnumType(cls=cls) if all(isinstance(member.value, str) for member in cls):
            return "text", lambda member: keep_text(_value_of(member)), cls
        case _:
            return "json", _keep_json, msgspec.json.Decoder(annotation).decode


def nullable(keep: Keeper) -> Keeper:
    return lambda value: None if value is None else keep(value)


def text_keeper(bytes_max: int) -> Callable[[Any], str]:
    def keep(value: Any) -> str:
        if type(value) is not str:
            raise TypeError(f"a str is expected, not {type(value).__name__}")
        if "\0" in value:
            raise ValueError("a text holds the character NUL")
        if len(value) > bytes_max or (not value.isascii() and len(value.encode()) > bytes_max):
            raise ValueError(f"a text is longer than {bytes_max:,} bytes")
        return value

    return keep


def _keep_truth(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"a bool is expected, not {type(value).__name__}")
    return value


def _keep_integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an int is expected, not {type(value).__name__}")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise OverflowError("an int does not fit in 64 bits")
    return value


def _keep_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"a float is expected, not {type(value).__name__}")
    number = float(value)
    if not isfinite(number):
        raise ValueError("a float is not a finite number")
    return number


def _keep_time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime is expected, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError("a datetime has no time zone")
    return value.astimezone(UTC)


def _keep_json(value: Any) -> str:
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
