"""Datetimes in the values of a type: looked for once in the type, so that values of a type without any cost nothing.

The same moment has another hour, and another day, in each zone; and a datetime without a zone is no moment at all. So that a fold
depends on nothing but the events:

    command ── a datetime without a zone is refused at the door (naive_in)
    event   ── is not made without one, and folded as it will be read back (made_in): JSON keeps an offset, no rules of a zone
    row     ── is folded on in UTC (utc_in), as every store gives it back

A field that is declared `Meta(tz=False)` says that it means no moment; it is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, TypeAlias, get_origin

import msgspec
from msgspec import inspect

Map: TypeAlias = Callable[[Any], Any]
Fields: TypeAlias = Mapping[type, tuple[tuple[str, str], ...]]
"""By class: the fields in which a datetime may be, by the names that Python and JSON have for them."""

NO_ZONE = "Expected `datetime` with a timezone component"
"""What msgspec says where a type asks for one."""
_MINUTE = timedelta(minutes=1)


class _NoZoneError(Exception):
    pass


def utc_in(annotation: Any) -> Map | None:
    """What brings the datetimes in a value of this type to UTC; None where there can be none. Those without a zone stay."""
    fields = _fields_of(annotation, lambda described: True)
    return None if fields is None else partial(_mapped, fields, _in_utc)


def utc_decoder(annotation: Any) -> Map:
    """From JSON to a value of this type, its datetimes in UTC."""
    decode, in_utc = msgspec.json.Decoder(annotation).decode, utc_in(annotation)
    return decode if in_utc is None else lambda data: in_utc(decode(data))


def as_read_in(annotation: Any) -> Map | None:
    """What makes of the datetimes in a value of this type those that come back from its JSON; None where there can be none. One
    whose offset JSON cannot tell, of a part of a minute, would come back as another moment: it becomes UTC."""
    fields = _fields_of(annotation, lambda described: True)
    return None if fields is None else partial(_mapped, fields, _as_read)


def made_in(annotation: Any) -> Map | None:
    """As `as_read_in`, for a value that is to be written: raises ValueError, with a JSON pointer, when a datetime has no zone."""
    fields = _fields_of(annotation, lambda described: described.tz is not False)
    if fields is None:
        return None

    def made(value: Any) -> Any:
        try:
            return _mapped(fields, _made, value)
        except _NoZoneError as error:
            told = f"a {type(value).__name__} was made whose datetime at {_naive(fields, value)} has no time zone"
            raise ValueError(told) from error

    return made


def naive_in(annotation: Any) -> Callable[[Any], str | None] | None:
    """What finds a datetime without a zone, as a JSON pointer, in a value decoded as this type, None where there is none;
    None instead of it where none can be: where the type asks for a zone, decoding has refused what has none."""
    fields = _fields_of(annotation, lambda described: described.tz is None)
    return None if fields is None else partial(_naive, fields)


def _fields_of(annotation: Any, is_meant: Callable[[inspect.DateTimeType], bool]) -> Fields | None:
    root = inspect.type_info(annotation)
    if not _holds(root, is_meant):
        return None
    fields: dict[type, tuple[tuple[str, str], ...]] = {}
    for described in _all(root):
        if isinstance(described, inspect.StructType | inspect.DataclassType | inspect.NamedTupleType):
            found = [(field.name, field.encode_name) for field in described.fields if _holds(field.type, is_meant)]
            cls = get_origin(described.cls) or described.cls  # a generic one may stand here twice, with other fields
            fields[cls] = tuple(dict.fromkeys([*fields.get(cls, ()), *found]))
    return fields


def _holds(described: inspect.Type, is_meant: Callable[[inspect.DateTimeType], bool]) -> bool:
    return any(isinstance(one, inspect.DateTimeType) and is_meant(one) for one in _all(described))


def _all(described: inspect.Type) -> Iterator[inspect.Type]:
    """The type and all that is in it, each once: it may hold itself."""
    seen, left = {id(described)}, [described]
    while left:
        yield (one := left.pop())
        for name in one.__struct_fields__:
            value = getattr(one, name)
            for each in value if isinstance(value, tuple) else (value,):
                within = each.type if isinstance(each, inspect.Field) else each
                if isinstance(within, inspect.Type) and id(within) not in seen:
                    seen.add(id(within))
                    left.append(within)


def _mapped(fields: Fields, change: Callable[[datetime], datetime], value: Any) -> Any:
    """The same value, not an equal one, where nothing in it changes. What is of another type than was declared is passed over."""
    kind = type(value)
    if kind in fields:
        changed = {}
        for name, _ in fields[kind]:
            if (old := getattr(value, name)) is not None and (new := _mapped(fields, change, old)) is not old:
                changed[name] = new
        return _replaced(value, changed) if changed else value
    if isinstance(value, datetime):
        return change(value)
    if kind is dict:
        old_keys, old_values = [*value], [*value.values()]
        keys, values = _mapped(fields, change, old_keys), _mapped(fields, change, old_values)
        return value if keys is old_keys and values is old_values else dict(zip(keys, values, strict=True))
    if kind in (list, tuple, set, frozenset):
        values = [_mapped(fields, change, one) for one in value]
        return value if all(new is old for new, old in zip(values, value, strict=True)) else kind(values)
    return value


def _replaced(value: Any, changed: Mapping[str, Any]) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changed)
    if isinstance(value, tuple):
        return value._replace(**changed)  # type: ignore[attr-defined]
    other = copy.copy(value)
    for name, one in changed.items():
        object.__setattr__(other, name, one)  # a dataclass may be frozen
    return other


def _naive(fields: Fields, value: Any) -> str | None:
    kind = type(value)
    within: Any = ()
    if kind in fields:
        within = ((encoded, getattr(value, name)) for name, encoded in fields[kind])
    elif isinstance(value, datetime):
        return None if value.tzinfo is not None and value.utcoffset() is not None else ""
    elif kind is dict:
        within = ((key, pair) for key, one in value.items() for pair in (key, one))
    elif kind in (list, tuple, set, frozenset):
        within = enumerate(value)
    for step, one in within:
        if (found := _naive(fields, one)) is not None:
            return "/" + str(step).replace("~", "~0").replace("/", "~1") + found
    return None


def _in_utc(at: datetime) -> datetime:
    if (at.tzinfo is UTC and not at.fold) or at.utcoffset() is None:
        return at
    try:
        return at.astimezone(UTC).replace(fold=0)
    except OverflowError:  # at the ends of the calendar: the same in memory and in JSON, and no store's "time" takes it
        return at


def _as_read(at: datetime) -> datetime:
    if at.tzinfo is UTC or (offset := at.utcoffset()) is None or offset % _MINUTE:
        return _in_utc(at)
    return at.replace(tzinfo=timezone(offset), fold=0)


def _made(at: datetime) -> datetime:
    if at.tzinfo is not UTC and at.utcoffset() is None:
        raise _NoZoneError
    return _as_read(at)
