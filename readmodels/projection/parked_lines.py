"""Working off the line of a parked key, once an operator has asked for it.

    parked ── retry ──> its events folded in order ──> unparked
              discard ─> the first one dropped, the rest folded in order ──> unparked
                         one of them fails ──> parked at that one, an attempt more
                         one of them is of other keys now, since `keys` was changed ──> the same, and it says so

It is not folded into those others: their rows may have gone on without it, a row that is not there may have been taken away by a
later event, and another process may hold their slice. Only a fold from the first event on puts it where it belongs.

The line is read before the rows. A row that waits in a line changes only when the line does, and the commit is refused unless
the line still begins where it was read: so nobody's half-finished work is folded twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.kernel.ids import slice_of
from twofold.kernel.ports import Projection
from twofold.kernel.rows import REKEYED, Drain, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.projection.fold import Encode, Touch, error_text, fold, parts_of
from twofold.readmodels.projection.state import SliceState
from twofold.readmodels.schema.columns import is_stream_key
from twofold.subscriptions.log_cache import LogCache, Seen


class KeyIsParked(ValueError):
    """An event of a parked stream touches a key that has a line of its own."""


class Rekeyed(ValueError):
    """An event waits for a key that it does not concern any more, and concerns others."""


class ParkedLineFold:
    """Makes the drains that take parked lines forward."""

    def __init__(self, log: LogCache, store: Projection) -> None:
        self._log = log
        self._store = store

    def drain(self, view: AnyView, state: SliceState, key: str, encode: Encode, is_discarding: bool, limit: int) -> Drain:
        """Fold the first `limit` events of a line, as far as that goes. `is_discarding` drops the first one instead."""
        line = self._store.waiting(state.id, key, limit + 1)
        taken = line[:limit]
        if not taken:
            return refused(state, key, "the line is empty")
        if is_discarding and (held_up := self._held_up(view, state, key, taken[0])):
            return refused(state, key, str(held_up))
        rows: dict[str, Row | None] = {}
        recorded_at = []
        for seen in self._log.at(taken[is_discarding:], limit):
            try:
                step = self._fold(view, state, key, encode, seen, rows)
            except Exception as error:
                gone = [position for position in taken if position < seen.position]
                through = gone[-1] if gone else None
                why = f"{error} (event {seen.position}, {seen.type}, stream {seen.about.stream})"
                told = why if isinstance(error, Rekeyed) else error_text(error)
                return Drain(state.id, state.position, key, taken[0], rows, through, error=told)
            rows |= step
            recorded_at += [seen.recorded_at] * len(step)
        is_done = len(line) <= limit
        return Drain(state.id, state.position, key, line[0], rows, taken[-1], is_done, recorded_at=tuple(recorded_at))

    def _held_up(self, view: AnyView, state: SliceState, key: str, position: int) -> KeyIsParked | None:
        """What the first event of a line waits for, when it is no poison itself: a discard that is asked for twice must not take
        along what comes after it."""
        for seen in self._log.at([position], 1):
            try:
                _concerned(parts_of(view, seen), key, state)
            except KeyIsParked as parked:
                return parked
            except Exception:
                break
        return None

    def _fold(
        self, view: AnyView, state: SliceState, key: str, encode: Encode, seen: Seen, rows: Mapping[str, Row | None]
    ) -> dict[str, Row | None]:
        """What one event of the line makes of this slice's rows: all of them, or it raises."""
        step: dict[str, Row | None] = {}
        for name, part in _concerned(parts_of(view, seen), key, state).items():
            row = rows[name] if name in rows else self._store.load(view.name, [name]).get(name)
            folded = fold(view, name, row, [Touch(seen, part)], encode, is_checked=True)
            if folded.failed is not None:
                raise ValueError(folded.error)
            step[name] = folded.row
        return step


def refused(state: SliceState, key: str, error: str) -> Drain:
    """The key stays parked where it is."""
    return Drain(state.id, state.position, key, state.parked[key], error=error)


def _concerned(parts: Mapping[str, Any], key: str, state: SliceState) -> Mapping[str, Any]:
    """Of an event's keys, those that wait in this line: the parked key itself, or a parked stream's keys in this slice. None of
    an event that concerns no row at all by now."""
    if not is_stream_key(key):
        if parts and key not in parts:
            raise Rekeyed(f"{REKEYED}; give the view another revision")
        return {name: part for name, part in parts.items() if name == key}
    mine = {name: part for name, part in parts.items() if slice_of(name, state.slices) == state.id.slice}
    for name in mine:
        if name in state.parked:
            raise KeyIsParked(f"key {name!r} is parked itself; retry or discard it first")
    return mine
