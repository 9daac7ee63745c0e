"""A command that no client sends, made ready for the lanes: what is checked at the door of a client's is checked here."""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec

from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.messages import Command, tag_of

CALL_NAMESPACE = uuid.UUID("0d6a1f5e-3c0b-5d8e-8f43-5b1c7e9a2d10")
"""Part of every command id made of a call: in the inbox for ever, never to be changed."""


def enveloped(
    domain: Domain,
    codec: Codec,
    command: Command,
    command_id: str,
    accepted_at: datetime,
    principal: str,
    correlation_id: str | None = None,
    causation_id: str | None = None,
) -> Envelope:
    """Raises TypeError for what is no command of this domain, Malformed for one that no client could send."""
    tag = tag_of(type(command))
    if domain.commands.get(tag) is not type(command):
        raise TypeError(f"{tag} is no command of {domain.name}")
    data = encode(command)
    codec.command(tag, data)
    decider = domain.decider_of[tag]
    return Envelope(
        command_id=command_id,
        type=tag,
        stream=decider.stream_of(command),
        data=msgspec.Raw(data),
        fingerprint=fingerprint_of(tag, data),
        accepted_at=accepted_at,
        principal=principal,
        correlation_id=correlation_id,
        causation_id=causation_id,
    )


def answer_id(call_id: str) -> str:
    """Of the command that says what came of a call. Made again, a call has the same answer."""
    return str(uuid.uuid5(CALL_NAMESPACE, call_id))


def given_up_id(call_id: str, asked_at: datetime) -> str:
    """Of the command that says it was made in vain, since it was asked for the last time."""
    return str(uuid.uuid5(CALL_NAMESPACE, f"{call_id} {asked_at.timestamp():.6f}"))
