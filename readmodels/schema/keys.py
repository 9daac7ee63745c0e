"""Row keys: which ones a store can hold, and the keys that stand for a whole stream where naming the rows failed."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from twofold.kernel.ids import slice_of
from twofold.readmodels.schema.columns import KEY_BYTES_MAX, text_encoder

STREAM_PREFIX = "!stream/"
"""Begins the key under which a stream's events wait when `View.keys` raised on one of them. No row key may begin so. On disk."""

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
