"""A value as bytes that sort as it does: absent ones first, numbers and times as fixed-width hexadecimal, text as UTF-8.

For stores that compare bytes and know no types. On disk.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from twofold.database.times import microseconds
from twofold.readmodels.schema.columns import Column
from twofold.readmodels.schema.query import Span

ABSENT, PRESENT, BEHIND_PRESENT = b"0", b"1", b"2"
"""What a value begins with, and what is behind all of them."""

_OFFSET = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sortable(column: Column, value: Any) -> bytes:
    if value is None:
        return ABSENT
    match column.type:
        case "integer":
            return b"1%016x" % (value + _OFFSET)
        case "truth":
            return b"1%d" % value
        case "number":
            (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
            return b"1%016x" % (bits ^ (((1 << 64) - 1) if bits >> 63 else _OFFSET))
        case "time":
            return b"1%016x" % (microseconds(value) + _OFFSET)
        case _:
            return PRESENT + str(value).encode()


def bounds(span: Span) -> tuple[bytes, bytes]:
    """Not below the first, below the second."""
    start = PRESENT if span.start is None else sortable(span.column, span.start)
    return start, BEHIND_PRESENT if span.end is None else sortable(span.column, span.end)


def value_of(column: Column, text: str) -> Any:
    """Of a value that is there, what was made into this."""
    kept = text[1:]
    match column.type:
        case "integer":
            return int(kept, 16) - _OFFSET
        case "truth":
            return kept == "1"
        case "number":
            bits = int(kept, 16)
            (number,) = struct.unpack(">d", struct.pack(">Q", bits ^ (_OFFSET if bits >> 63 else (1 << 64) - 1)))
            return number
        case "time":
            return _EPOCH + timedelta(microseconds=int(kept, 16) - _OFFSET)
        case _:
            return kept
