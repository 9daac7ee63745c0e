"""Parked keys in Redis: each with its line of waiting positions, and what an operator asked to be done with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.kernel.rows import STREAM_PREFIX, Advance, Drain, ParkedKey, ParkedLine
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.columns import STREAM_PREFIX_END
from twofold.readmodels.stores.redis.generations import Keyspace
from twofold.readmodels.stores.redis.scripts import script

_RECORD = msgspec.msgpack.Decoder(tuple[str, str, int, int, str, str])
"""Position in hexadecimal, error, waiting, attempts, parked at, request."""


def packed(advance: Advance) -> tuple[list[Any], list[Any]]:
    """Waiting and expected lines, as the commit script unpacks them."""
    now = datetime.now(UTC).isoformat()
    return (
        [(key, [_text(one) for one in line], advance.errors.get(key, ""), now) for key, line in advance.waiting.items()],
        [(key, _text(first)) for key, first in advance.lines.items()],
    )


def packed_drain(drain: Drain) -> tuple[Any, ...]:
    """Slice, expected, key, first, through, whether it is done, and the error, as the drain script unpacks them."""
    through = "" if drain.through is None else _text(drain.through)
    named = (str(drain.slice.slice), str(drain.expected), drain.key)
    return (*named, _text(drain.first), through, drain.is_done, drain.error)


def parked(client: Any, keyspace: Keyspace, wanted: str | None, limit: int | None) -> list[ParkedKey]:
    """By where they wait, or one key alone."""
    _mend_index(client, keyspace)
    if wanted is None:
        names = client.zrange(keyspace.firsts, 0, -1 if limit is None else limit - 1) if limit != 0 else []
    else:
        names = [f"{slice_id.slice}\0{wanted}".encode() for slice_id in keyspace.generation.slice_ids()]
    found = []
    for name, record in zip(names, client.hmget(keyspace.parked, names) if names else [], strict=True):
        if record is None:
            continue
        slice, key = name.decode().split("\0", 1)
        position, error, waiting, attempts, parked_at, request = _RECORD.decode(record)
        found.append(
            ParkedKey(
                slice=SliceId(keyspace.view.name, keyspace.generation.number, int(slice)),
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


def lines(client: Any, keyspace: Keyspace, only_requested: bool) -> list[ParkedLine]:
    _mend_index(client, keyspace)
    with client.pipeline(transaction=True) as together:
        together.hgetall(keyspace.asked)
        if not only_requested:
            together.zrange(keyspace.firsts, 0, -1, withscores=True)
        asked, *all_firsts = together.execute()
    if only_requested:
        names = list(asked)
        positions = client.zmscore(keyspace.firsts, names) if names else []
        firsts = [(name, at) for name, at in zip(names, positions, strict=True) if at is not None]
    else:
        [firsts] = all_firsts
    found = []
    for name, position in firsts:
        slice, key = name.decode().split("\0", 1)
        place = SliceId(keyspace.view.name, keyspace.generation.number, int(slice))
        found.append(ParkedLine(place, key, int(position), asked.get(name, b"").decode()))
    return found


def rekeyed(client: Any, keyspace: Keyspace) -> int | None:
    """A mark counts while the line begins where it was made: a release that makes none takes none away, either."""
    _mend_index(client, keyspace)
    marks = {name[1:]: int(at, 16) for name, at in client.hgetall(keyspace.asked).items() if name.startswith(b"\1")}
    begins = client.zmscore(keyspace.firsts, list(marks)) if marks else []
    return min((at for at, first in zip(marks.values(), begins, strict=True) if first == at), default=None)


def _mend_index(client: Any, keyspace: Keyspace) -> None:
    """A release that keeps none may still run beside this one: every script that changes something sees to it first."""
    with client.pipeline(transaction=True) as together:
        together.zcard(keyspace.firsts)
        together.hlen(keyspace.parked)
        indexed, parked_count = together.execute()
    if indexed != parked_count:
        client.eval(script("standing"), len(keyspace.keys), *keyspace.keys)


def position_of(record: bytes) -> int:
    """Where the line of a parked key begins."""
    return int(_RECORD.decode(record)[0], 16)


def streams_of(slice: int) -> tuple[bytes, bytes]:
    """The bounds of a slice's lines that are parked streams'."""
    return b"[%d\0" % slice + STREAM_PREFIX.encode(), b"(%d\0" % slice + STREAM_PREFIX_END.encode()


def count(client: Any, keyspace: Keyspace) -> int:
    """How many keys are parked. All their names are read only where there are streams among them, which stand in every slice."""
    with client.pipeline(transaction=True) as together:
        together.hlen(keyspace.parked)
        for slice_id in keyspace.generation.slice_ids():
            together.zrangebylex(keyspace.lines, *streams_of(slice_id.slice), start=0, num=1)
        parked_count, *streams = together.execute()
    if not any(streams):
        return int(parked_count)
    return len({name.split(b"\0", 1)[1] for name in client.hkeys(keyspace.parked)})


def waiting(client: Any, keyspace: Keyspace, slice: int, key: str, limit: int) -> list[int]:
    name = f"{slice}\0{key}".encode()
    members = client.zrangebylex(keyspace.lines, b"[" + name + b"\0", b"(" + name + b"\1", start=0, num=limit)
    return [int(member.rpartition(b"\0")[2], 16) for member in members]


def request(client: Any, keyspace: Keyspace, key: str, wanted: str) -> bool:
    """Note what is wanted for a key, in every slice where it is parked."""
    names = [f"{slice_id.slice}\0{key}" for slice_id in keyspace.generation.slice_ids()]
    return int(client.eval(script("request"), 2, keyspace.parked, keyspace.asked, wanted, *names)) > 0


def _text(position: int) -> str:
    return f"{position:016x}"
