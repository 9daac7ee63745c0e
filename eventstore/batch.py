"""What one append writes, worked out before any lock is taken: which rows, and each one's place counted from the head.

A decision without events has the place of the last event before it, so that places never point past what it saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from twofold.eventstore.records import encode_json
from twofold.kernel.codes import KEY_REUSED
from twofold.kernel.log import Appended, Decision, NewEvent, Recorded
from twofold.kernel.outcome import Outcome

ERROR_CHARS_MAX = 20_000
"""A traceback's end tells most: so much of it is kept."""


class Batch:
    """The decisions of one append, their events in log order, and how many events stand before the end of each decision."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = decisions
        self.events: list[NewEvent] = []
        self.places: list[int] = []
        for decision in decisions:
            self.events += decision.events
            self.places.append(len(self.events))
        self.noted = [(d, place) for d, place in zip(decisions, self.places, strict=True) if d.code != KEY_REUSED]
        """What gets a row in the inbox."""
        self.parked = [decision for decision in decisions if decision.status == "parked"]
        self.retried = [decision for decision, _ in self.noted if decision.envelope.attempt > 1]

    def settled(self) -> list[tuple[str, str]]:
        """Command id and fingerprint of retried commands that need not stay parked."""
        return [(d.envelope.command_id, d.envelope.fingerprint) for d in self.retried if d.status != "parked"]

    def recorded(self, start: int, recorded_at: datetime) -> list[Recorded]:
        """The events as they stand in the log after position `start`."""
        return [
            Recorded(position, event.stream, event.version, event.type, event.data, event.meta, recorded_at)
            for position, event in enumerate(self.events, start=start + 1)
        ]

    def appended(self, start: int, recorded_at: datetime) -> Appended:
        outcomes = tuple(
            _outcome(decision, start + place, recorded_at) for decision, place in zip(self.decisions, self.places, strict=True)
        )
        return Appended(outcomes, start + len(self.events), recorded_at)


def events_json(decision: Decision) -> str | None:
    """The wire names of a decision's events as the inbox keeps them."""
    return encode_json([event.type for event in decision.events]).decode() if decision.events else None


def details_json(decision: Decision) -> str | None:
    return encode_json(decision.details).decode() if decision.details is not None else None


def error_text(decision: Decision) -> str:
    """The traceback, so that it can be stored whatever is in it: a bug must not also prevent its own report."""
    text = (decision.error or "")[-ERROR_CHARS_MAX:]
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def _outcome(decision: Decision, position: int, decided_at: datetime) -> Outcome:
    envelope = decision.envelope
    return Outcome(
        command_id=envelope.command_id,
        type=envelope.type,
        stream=envelope.stream,
        status=decision.status,
        version=decision.version,
        position=position,
        fingerprint=envelope.fingerprint,
        accepted_at=envelope.accepted_at,
        decided_at=decided_at,
        events=tuple([event.type for event in decision.events]),
        code=decision.code,
        details=decision.details,
        attempt=envelope.attempt,
    )
