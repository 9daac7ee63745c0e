"""Lag as users feel it: how many events a view has not shown, and how old the oldest of them is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from twofold.kernel.ids import mark_of, marked_position
from twofold.kernel.ports import Clock, History, LogPages, ParkedLines, Rows
from twofold.kernel.view import SliceId

LIVE_SECONDS_MAX = 1.0
"""A view whose oldest unseen event is younger than this is called live: it is merely busy."""


STATES = ("live", "behind", "parked", "diverged", "away")
"""What a view may be, as users are told it."""


class ViewLag(msgspec.Struct, frozen=True):
    """One view: the lowest checkpoint of its slices, and its distance from the head in events and in seconds.

    `state` is "live", "behind", "parked" when keys of it wait behind a poison event, "diverged" when a slice stands on an event
    that is not in the log, which has lost its tail, or "away" while its store does not answer: then the position is the last
    one known.
    """

    position: int
    lag_events: int
    lag_seconds: float
    state: str


class Lag(msgspec.Struct, frozen=True):
    head: int
    views: Mapping[str, ViewLag]


def read_lag(
    history: History,
    rows: Rows,
    parked_lines: ParkedLines,
    names: Iterable[str],
    clock: Clock,
    known: Mapping[str, int] = MappingProxyType({}),
) -> Lag:
    """The lag of every view. A slice that never moved stands at 0. The head is read last, so lag is never negative.

    `known` are positions from before, for views whose store is away.
    """
    lowest: dict[str, int] = {}
    checkpoints = rows.positions()
    for slice_id, position in checkpoints.items():
        lowest[slice_id.view] = min(position, lowest.get(slice_id.view, position))
    marks = {slice_id: mark for slice_id, mark in rows.marks().items() if marked_position(mark) <= checkpoints.get(slice_id, 0)}
    parked = {view for view, count in parked_lines.parked_counts().items() if count}
    head, _ = history.head()
    positions = {name: min(lowest.get(name, known.get(name, 0)), head) for name in names}
    diverged = {slice_id.view for slice_id, position in checkpoints.items() if position > head} | diverged_views(history, marks)
    oldest = history.recorded_at({position + 1 for position in positions.values() if position < head})
    now = clock.now()

    def lag_of(name: str, position: int) -> ViewLag:
        unseen_since = oldest.get(position + 1)
        seconds = max(0.0, (now - unseen_since).total_seconds()) if unseen_since else 0.0
        state = "parked" if name in parked else "live" if seconds <= LIVE_SECONDS_MAX else "behind"
        if name in diverged:
            state = "diverged"
        if name not in lowest:
            state = "away"
        return ViewLag(position, head - position, round(seconds, 6), state)

    return Lag(head, {name: lag_of(name, position) for name, position in positions.items()})


def diverged_views(history: LogPages, marks: Mapping[SliceId, str]) -> set[str]:
    """The views that have a slice which stands on an event that the log does not hold at that place."""
    positions = {marked_position(mark) for mark in marks.values() if mark}
    held = {
        mark_of(event.position, event.stream, event.version, event.meta.command_id, event.recorded_at)
        for position in positions
        for event in history.page(position - 1, 1).events
    }
    return {slice_id.view for slice_id, mark in marks.items() if mark and mark not in held}
