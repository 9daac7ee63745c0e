"""A command on its way: what the gateway adds to a command before the bus carries it.

On the broker a message is a JSON array of envelopes: stable names, unknown fields ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec

from twofold.kernel.errors import Malformed
from twofold.kernel.ids import COMMAND_ID


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One accepted command. `data` is its canonical JSON; `attempt` counts the times it was asked for anew after being parked."""

    command_id: str
    type: str
    stream: str
    data: msgspec.Raw
    fingerprint: str
    accepted_at: datetime
    principal: str = "anonymous"
    correlation_id: str | None = None
    causation_id: str | None = None
    expected_version: int | None = None
    attempt: int = 1


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Envelope])
_is_id = COMMAND_ID.fullmatch
SHOWN_CHARS_MAX = 40


def fingerprint_of(command_type: str, data: bytes) -> str:
    """32 hex digits that tell two commands apart: over type and canonical JSON, which `Codec.fingerprint` makes."""
    return blake2b(command_type.encode() + b"\0" + data, digest_size=16).hexdigest()


def encode_batch(envelopes: Sequence[Envelope]) -> bytes:
    return _ENCODER.encode(envelopes)


def decode_batch(body: bytes) -> list[Envelope]:
    """Raises Malformed when the body is not a JSON array of envelopes, each with a UUID: no log could note another."""
    try:
        envelopes = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
    ids = [envelope.command_id for envelope in envelopes]
    if not all(map(_is_id, ids)):
        wrong = next(command_id for command_id in ids if not _is_id(command_id))
        raise Malformed(f"the command id {wrong[:SHOWN_CHARS_MAX]!r} is no UUID in lower case")
    return envelopes
