"""What the stores hold, read with plain SQL and plain Redis commands: the other half of the evidence.

Nothing of eventstore or readmodels is used here on purpose: a bug in how they read must not hide a bug in how they write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from twofold.kernel.log import Meta, Recorded
from twofold.kernel.view import AnyView


@dataclass(frozen=True)
class Decided:
    """One command's place in the inbox. `count` is the number of its outcomes."""

    stream: str
    status: str
    version: int
    position: int
    events_count: int
    decided_at: datetime
    count: int


class Stores(Protocol):
    """One deployment's log, inbox and rows."""

    def events(self, after: int) -> list[Recorded]:
        """Every event after this position, by position."""

    def head(self) -> int: ...

    def inbox(self, command_ids: Collection[str]) -> dict[str, Decided]: ...

    def has_outcomes(self, command_ids: Collection[str]) -> bool:
        """Whether all of these are decided."""

    def checkpoints(self) -> dict[str, list[int]]:
        """Of the live generation of every view that follows the log, one position for each slice; 0 for one that never moved."""

    def parked(self) -> list[str]:
        """One line for each parked command and each parked key."""

    def rows(self, view: AnyView, keys: Collection[str] | None) -> dict[str, Any]:
        """Rows of the view's live generation, as its row struct, by key; all of them when `keys` is None."""


def recorded(row: Iterable[Any], recorded_at: datetime) -> Recorded:
    """From (position, stream, version, type, data, meta, …), data and meta as JSON text."""
    position, stream, version, event_type, data, meta, *_ = row
    return Recorded(position, stream, version, event_type, data.encode(), msgspec.json.decode(meta, type=Meta), recorded_at)


def inbox_of(rows: Iterable[tuple[str, str, str, int, int, str | None, datetime]]) -> dict[str, Decided]:
    """From (command_id, stream, status, version, position, events as JSON text, decided_at)."""
    found: dict[str, Decided] = {}
    for command_id, stream, status, version, position, events, decided_at in rows:
        count = found[command_id].count + 1 if command_id in found else 1
        events_count = len(msgspec.json.decode(events)) if events else 0
        found[command_id] = Decided(stream, status, version, position, events_count, decided_at, count)
    return found


def positions_of(slices: Mapping[str, int], moved: Iterable[tuple[str, int, int]]) -> dict[str, list[int]]:
    """From slice counts by view and (view, slice, position) of those that ever moved."""
    positions = {view: [0] * count for view, count in slices.items()}
    for view, number, position in moved:
        positions[view][number] = position
    return positions


def row_of(view: AnyView, columns: Mapping[str, Any]) -> Any:
    """The row struct from its columns, whatever the store keeps beside them left out."""
    names = set(view.row.__struct_fields__)
    return msgspec.convert({name: value for name, value in columns.items() if name in names}, view.row, strict=False)
