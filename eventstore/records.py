"""Between the kernel's structs and rows of either database: what an append writes, and what is read back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.kernel.codes import KEY_REUSED
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Appended, Decision, LastEvent, Meta, NewEvent, ParkedCommand, Recorded
from twofold.kernel.outcome import Outcome

BIGINT_MAX = 2**63 - 1
FILTERED_POSITIONS_MAX = 10_000
"""How far a page with a type filter looks before it answers, however little it has found."""
PAGE_BYTES_MAX = 8 * 1024 * 1024
"""Of the data that a page holds, as it is stored; the event that goes beyond it is the last one."""
READ_BYTES_MAX = 8 * 1024 * 1024
"""Of the streams that are read at once, each an equal part of it; at least one event of each."""
ROW_BYTES = 256
"""What an event weighs besides its data."""
ERROR_CHARS_MAX = 20_000
"""A traceback's end tells most: so much of it is kept."""

EVENT_COLUMNS = "position, stream, version, type, data, meta, recorded_at"
OUTCOME_COLUMNS = "fingerprint, type, stream, status, attempt, version, position, events, code, details, accepted_at, decided_at"
PARKED_COLUMNS = "id, envelope, reason, error, parked_at"

GAP = "gap"
"""What a Conflict says when a version does not follow the one before it."""

LOST = "lost"
"""What it says when the last event that was known of a stream is not in the log."""
NOTHING_KNOWN = LastEvent(0, "", datetime(1970, 1, 1, tzinfo=UTC), 0)

encode_json = msgspec.json.Encoder().encode
decode_meta = msgspec.json.Decoder(Meta).decode
decode_text = msgspec.json.Decoder(str).decode
"""Called where rows are read, event by event: these are compiled functions, and nothing of ours stands between."""
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_types = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_details = msgspec.json.Decoder(dict[str, Any]).decode


def encode_spelt_out(meta: Meta) -> bytes:
    """As earlier versions read it."""
    return encode_json(meta.spelt_out())


class PlannedAppend:
    """What one append writes, worked out before any lock is taken: which rows, and each one's offset from the log's head.

    `first_versions`: by stream, that of its first event here. `offsets`: for each decision, how many of `events` have been
    written once its own are. So one without events has the position of the last event before it, which is never past what it saw.
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = decisions
        self.events: list[NewEvent] = []
        self.offsets: list[int] = []
        self.first_versions: dict[str, int] = {}
        for decision in decisions:
            self.events += decision.events
            self.offsets.append(len(self.events))
        self._refuse_gaps()
        self.noted = [
            (d, offset)
            for d, offset in zip(decisions, self.offsets, strict=True)
            if not (d.status == "parked" and d.code == KEY_REUSED)
        ]
        """What gets a row in the inbox."""
        self.types = {(event.type, event.meta.schema_version) for event in self.events}
        """Wire names and schema versions."""
        self.parked = [decision for decision in decisions if decision.status == "parked"]
        self.retried = [decision for decision, _ in self.noted if decision.envelope.attempt > 1]

    def preceding(self) -> dict[str, int]:
        """By stream, the version that the log must hold, because the next one is the first here; no entry for a new stream."""
        return {stream: version - 1 for stream, version in self.first_versions.items() if version > 1}

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
            _outcome(decision, start + offset, recorded_at) for decision, offset in zip(self.decisions, self.offsets, strict=True)
        )
        return Appended(outcomes, start + len(self.events), recorded_at)

    def _refuse_gaps(self) -> None:
        """Within the batch each event of a stream follows the one before it. Raises Conflict."""
        following: dict[str, int] = {}
        for event in self.events:
            version = event.version
            if following.setdefault(event.stream, version) != version:
                raise Conflict(GAP)
            following[event.stream] = version + 1
            self.first_versions.setdefault(event.stream, version)


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


def outcome_from(row: Sequence[Any]) -> Outcome:
    """An outcome from its row in the order of OUTCOME_COLUMNS, its command id before them, times already datetimes."""
    command_id, fingerprint, command_type, stream, status, attempt, version, position = row[:8]
    events, code, details, accepted_at, decided_at = row[8:]
    return Outcome(
        command_id=command_id,
        type=command_type,
        stream=stream,
        status=status,
        version=version,
        position=position,
        fingerprint=fingerprint,
        accepted_at=accepted_at,
        decided_at=decided_at,
        events=_decode_types(events) if events else (),
        code=code,
        details=_decode_details(details) if details else None,
        attempt=attempt,
    )


def parked_from(row: Iterable[Any]) -> ParkedCommand:
    """A parked command from its row in the order of PARKED_COLUMNS, the time already a datetime."""
    parked_id, envelope, reason, error, parked_at = row
    return ParkedCommand(id=parked_id, envelope=_decode_envelope(envelope), reason=reason, error=error, parked_at=parked_at)


def by_stream(events: Iterable[Recorded]) -> dict[str, list[Recorded]]:
    """Events of many streams, sorted into theirs; the order within each is kept."""
    streams: dict[str, list[Recorded]] = {}
    for event in events:
        streams.setdefault(event.stream, []).append(event)
    return streams


def has_gap(events: Sequence[Recorded], after: int) -> bool:
    """Whether of a stream's events behind a version, as they were found, some are not there: detached, or lost."""
    return bool(events) and events[-1].version - after != len(events)


def storable(texts: Collection[str]) -> list[str]:
    """Those of these texts that a database can hold at all: what holds NUL or half a character cannot be found in one."""
    return [text for text in texts if _is_storable(text)]


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
