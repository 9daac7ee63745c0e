"""Identities and the stable hashes: the lane of a stream, the slice of a row, the event that a checkpoint stands on."""

from __future__ import annotations

import os
import re
import time
import uuid
from datetime import datetime
from hashlib import blake2b
from random import Random
from zlib import crc32

IDEMPOTENCY_NAMESPACE = uuid.UUID("6f2c1d0e-5a53-5c1b-9d0c-7f0f2b1e9a11")
"""Part of every command id made from an Idempotency-Key: on disk for ever, never to be changed."""

FUTURE_SECONDS_MAX = 300.0
"""How far ahead of this clock a minted id may be and still be believed (clocks of two gateways differ)."""

COMMAND_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What may stand for a command: a UUID as text, in the one spelling that a log which keeps 16 bytes of it gives back."""

_DICE = Random()
"""Our own: whoever seeds the process's generator must not make two ids one. Seeded by the system, and anew after a fork."""
os.register_at_fork(after_in_child=_DICE.seed)


def new_command_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random. Sorts by time, so the inbox index grows at its end.

    An id is a name, not a secret, so a generator does. Asking the system each time gives up the interpreter lock each time,
    and a busy gateway then waits for it (`make bench`).
    """
    random = f"{_DICE.getrandbits(80):020x}"
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    variant = "89ab"[int(random[3], 16) & 3]
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"


def command_id_for(principal: str, idempotency_key: str) -> str:
    """The UUIDv5 that this principal's key always stands for. The principal's length keeps ("a", "bc") and ("ab", "c") apart."""
    return str(uuid.uuid5(IDEMPOTENCY_NAMESPACE, f"{len(principal)}:{principal}:{idempotency_key}"))


def is_made_of_key(command_id: str) -> bool:
    """Whether this id stands for an idempotency key, and so may come again: a UUIDv5, by its version digit."""
    return command_id[14] == "5"


def is_possible_command_id(text: str) -> bool:
    """Whether a gateway of this system can have handed out this id: a canonical UUIDv5, or a UUIDv7 not from the future."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return False
    if str(value) != text or value.variant != uuid.RFC_4122:
        return False
    if value.version == 5:
        return True
    return value.version == 7 and (value.int >> 80) / 1000 <= time.time() + FUTURE_SECONDS_MAX


def lane_of(stream: str, lanes: int) -> int:
    """The lane of a stream, 0 to lanes - 1. CRC-32 of the name: stable across processes, hosts and Python versions."""
    return crc32(stream.encode()) % lanes


def slice_of(key: str, slices: int) -> int:
    """The slice of a row key, 0 to slices - 1."""
    return crc32(key.encode()) % slices


def mark_of(position: int, stream: str, version: int, command_id: str, recorded_at: datetime) -> str:
    """The position, and 16 hex digits that tell this event from another that has taken its place. On disk, with checkpoints."""
    told = f"{stream}\0{version}\0{command_id}\0{recorded_at.timestamp():.6f}"
    return f"{position}-{blake2b(told.encode(errors='surrogatepass'), digest_size=8).hexdigest()}"


def marked_position(mark: str) -> int:
    """The position of a mark; 0 for "", which says nothing."""
    return int(mark.partition("-")[0] or 0)
