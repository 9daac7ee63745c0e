"""Between rows of either database and the kernel's structs. Times of SQLite are microseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from twofold.kernel.envelope import Envelope
from twofold.kernel.log import Meta, ParkedCommand, Recorded
from twofold.kernel.outcome import Outcome

BIGINT_MAX = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

EVENT_COLUMNS = "position, stream, version, type, data, meta, recorded_at"
OUTCOME_COLUMNS = (
    "command_id, fingerprint, type, stream, status, attempt, version, position, events, code, details, accepted_at, decided_at"
)
PARKED_COLUMNS = "id, envelope, reason, error, parked_at"

encode_json = msgspec.json.Encoder().encode
decode_meta = msgspec.json.Decoder(Meta).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_types = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_details = msgspec.json.Decoder(dict[str, Any]).decode


def recorded_from(row: Iterable[Any]) -> Recorded:
    """An event from its row in the order of EVENT_COLUMNS, `recorded_at` already a datetime."""
    position, stream, version, event_type, data, meta, recorded_at = row
    return Recorded(position, stream, version, event_type, data, decode_meta(meta), recorded_at)


def outcome_from(row: Sequence[Any]) -> Outcome:
    """An outcome from its row in the order of OUTCOME_COLUMNS, times already datetimes."""
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


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def moment(count: int) -> datetime:
    """The time that many microseconds after 1970, UTC."""
    return EPOCH + timedelta(microseconds=count)


def storable(texts: Collection[str]) -> list[str]:
    """Those of these texts that a database can hold at all: what holds NUL or half a character cannot be found in one."""
    return [text for text in texts if _is_storable(text)]


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
