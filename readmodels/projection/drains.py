"""Working off the line of a parked key, once an operator has asked for it.

    parked ── retry ──> its events folded in order ──> unparked
              discard ─> the first one dropped, the rest folded in order ──> unparked
                         one of them fails ──> parked at that one, an attempt more

The line is read before the rows. A row that waits in a line changes only when the line does, and the commit is refused unless
the line still begins where it was read: so nobody's half-finished work is folded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twofold.kernel.ids import slice_of
from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.projection.folding import Keep, Touch, fold, parts_of, told
from twofold.readmodels.projection.held import Held
from twofold.readmodels.schema.keys import is_stream_key
from twofold.subscriptions.window import Seen, Window


class Drains:
    """Makes the advances that take a slice's parked lines forward; its checkpoint stays where it is."""

    def __init__(self, window: Window, store: Projection) -> None:
        self._window = window
        self._store = store

    def advance(self, view: AnyView, held: Held, key: str, keep: Keep, is_discarding: bool, limit: int) -> Advance:
        """Fold the first `limit` events of a line, as far as that goes. `is_discarding` drops the first one instead."""
        line = self._store.waiting(held.id, key, limit + 1)
        taken = line[:limit]
        if not taken:
            return refused(held, key, "the line is empty")
        rows: dict[str, Row | None] = {}
        recorded_at = []
        for seen in self._window.at(taken[is_discarding:], limit):
            try:
                step = self._fold(view, held, key, keep, seen, rows)
            except Exception as error:
                return _stuck(held, key, taken, seen.position, rows, told(error))
            rows |= step
            recorded_at += [seen.recorded_at] * len(step)
        return Advance(
            slice=held.id,
            expected=held.position,
            position=held.position,
            rows=rows,
            drained={key: taken[-1]},
            unparked=frozenset() if len(line) > limit else frozenset({key}),
            lines={key: line[0]},
            recorded_at=tuple(recorded_at),
        )

    def _fold(
        self, view: AnyView, held: Held, key: str, keep: Keep, seen: Seen, rows: Mapping[str, Row | None]
    ) -> dict[str, Row | None]:
        """What one event of the line makes of this slice's rows: all of them, or it raises."""
        step: dict[str, Row | None] = {}
        for name, part in _concerned(parts_of(view, seen), key, held).items():
            row = rows[name] if name in rows else self._store.load(view.name, [name]).get(name)
            folded = fold(view, name, row, [Touch(seen, part)], keep, is_checked=True)
            if folded.failed is not None:
                raise ValueError(folded.error)
            step[name] = folded.row
        return step


def refused(held: Held, key: str, error: str) -> Advance:
    """The key stays parked where it is."""
    return Advance(held.id, held.position, held.position, {}, errors={key: error}, lines={key: held.parked[key]})


def _concerned(parts: Mapping[str, Any], key: str, held: Held) -> Mapping[str, Any]:
    """Of an event's keys, those that wait in this line: the parked key itself, or a parked stream's keys in this slice."""
    if not is_stream_key(key):
        return {key: parts[key]} if key in parts else {}
    mine = {name: part for name, part in parts.items() if slice_of(name, held.slices) == held.id.slice}
    for name in mine:
        if name in held.parked:
            raise ValueError(f"key {name!r} is parked itself; retry or discard it first")
    return mine


def _stuck(held: Held, key: str, taken: Sequence[int], failed: int, rows: Mapping[str, Row | None], error: str) -> Advance:
    """As far as the event that failed: the line begins with that one now."""
    gone = [position for position in taken if position < failed]
    return Advance(
        slice=held.id,
        expected=held.position,
        position=held.position,
        rows=rows,
        errors={key: error},
        drained={key: gone[-1]} if gone else {},
        lines={key: taken[0]},
    )
