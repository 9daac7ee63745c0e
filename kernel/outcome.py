"""What became of a command. Permanent, one for each command id, kept in the inbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

Status = Literal["succeeded", "ignored", "rejected", "parked"]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decided command.

    `version` and `position` are those of its last event; a command without events has the version it was decided against
    and the last position before it, so that `position` is always what a view must have reached to show what the
    command saw or did. `events` are the wire names of its events: they stand at the positions up to `position`, in this order.
    `code` and `details` say why it was rejected; for a parked one `code` is one of `codes`.
    """

    command_id: str
    type: str
    stream: str
    status: Status
    version: int
    position: int
    fingerprint: str
    accepted_at: datetime
    decided_at: datetime
    events: tuple[str, ...] = ()
    code: str | None = None
    details: dict[str, Any] | None = None
    attempt: int = 1
