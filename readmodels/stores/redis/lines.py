"""Parked keys in Redis: each with its line of waiting positions, and what an operator asked to be done with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.kernel.rows import Advance, ParkedKey
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.redis.generations import Shelf
from twofold.readmodels.stores.redis.scripts import REQUEST

_RECORD = msgspec.msgpack.Decoder(tuple[str, str, int, int, str, str])
"""Position in hexadecimal, error, waiting, attempts, parked at, request."""


def packed(advance: Advance) -> tuple[list[Any], list[Any], list[Any]]:
    """Drained, waiting and expected lines, as the commit script unpacks them."""
    now = datetime.now(UTC).isoformat()
    joined = advance.waiting.keys() | advance.errors.keys()
    return (
        [(key, _text(last), key in advance.unparked) for key, last in advance.drained.items()],
        [(key, [_text(one) for one in advance.waiting.get(key, [])], advance.errors.get(key, ""), now) for key in joined],
        [(key, _text(first)) for key, first in advance.lines.items()],
    )


def parked(client: Any, shelf: Shelf) -> list[ParkedKey]:
    found = []
    for name, record in client.hgetall(shelf.parked).items():
        slice, key = name.decode().split("\0", 1)
        position, error, waiting, attempts, parked_at, request = _RECORD.decode(record)
        found.append(
            ParkedKey(
                slice=SliceId(shelf.view.name, shelf.generation.number, int(slice)),
                key=key,
                position=int(position, 16),
                error=error,
                waiting=waiting,
                attempts=attempts,
                parked_at=datetime.fromisoformat(parked_at),
                retry_requested=request == "retry",
                discard_requested=request == "discard",
            )
        )
    return found


def waiting(client: Any, shelf: Shelf, slice: int, key: str, limit: int) -> list[int]:
    name = f"{slice}\0{key}".encode()
    members = client.zrangebylex(shelf.lines, b"[" + name + b"\0", b"(" + name + b"\1", start=0, num=limit)
    return [int(member.rpartition(b"\0")[2], 16) for member in members]


def request(client: Any, shelf: Shelf, key: str, wanted: str) -> bool:
    """Note what is wanted for a key, in every slice where it is parked."""
    names = [f"{slice_id.slice}\0{key}" for slice_id in shelf.generation.slice_ids()]
    return int(client.eval(REQUEST, 1, shelf.parked, wanted, *names)) > 0


def _text(position: int) -> str:
    return f"{position:016x}"
