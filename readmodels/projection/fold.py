"""Folding: which keys of which slices a page of events touches, what becomes of their rows, and so what a store is to commit.

Nothing here raises because of a domain's bug. A key whose next event cannot be folded, or whose row no store could hold, is
parked at that event; its later events join the line; all other keys are folded as if nothing had happened. When naming
the keys itself fails, there is no key to park: then the event's stream is parked, in every slice, and later events of that
stream join the line in every slice, since a mended `keys` may put them elsewhere. (Rows that several streams feed see those
events late.)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec

from twofold.kernel.errors import BUGS, NotKnown
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.projection.state import RowCache, SliceState
from twofold.readmodels.schema.columns import Columns, is_stream_key, refuse_key, stream_key
from twofold.subscriptions.log_cache import Seen

ERROR_CHARS_MAX = 2_000
TOUCHES_MAX = 20_000
"""Of rows by events, in one step of a view: an event may touch thousands."""
STEP_BYTES_MAX = 16 * 1024 * 1024
"""Of rows that one step of a view loads and writes, by what rows of it weighed lately."""

Encode = Callable[[str, msgspec.Struct], object]
"""Raises for a row that no store could hold (see readmodels/schema/columns.py)."""


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An event and the part of it that concerns one key; or, in `error`, why its keys could not be named."""

    seen: Seen
    part: Any = None
    error: BaseException | None = None


class FoldedRow(msgspec.Struct):
    """What a line of touches made of a row: `failed` counts from 0 where folding had to stop, None when it went through."""

    row: Row | None
    failed: int | None = None
    error: str = ""


Touches = dict[str, list[Touch]]


def parts_of(view: AnyView, seen: Seen) -> Mapping[str, Any]:
    """The keys an event touches, all of them storable, with their parts. Raises whatever is wrong with them."""
    if seen.event is None:
        raise seen.error or ValueError(f"event {seen.position} was not decoded")
    parts = view.parts(seen.event, seen.about)
    for key in parts:
        refuse_key(key)
    return parts


def touched(
    view: AnyView, page: Iterable[Seen], slices: int, parked: Mapping[int, Set[str]], touches_max: int = TOUCHES_MAX
) -> tuple[dict[int, Touches], int]:
    """For each slice in `parked` (slice to its parked keys), what the page touches there, by key, in log order; and up to which
    position: that of the event with which they are too many, or of the one before an event that only another version can read.
    0: not even the first one."""
    found: dict[int, Touches] = {slice: {} for slice in parked}
    blocked: dict[str, set[int]] = {}
    for slice, keys in parked.items():
        for line in filter(is_stream_key, keys):
            blocked.setdefault(line, set()).add(slice)
    listened = view.listened
    through = count = 0
    for seen in page:
        if count >= touches_max:
            break
        if seen.type not in listened:
            through = seen.position
            continue
        if seen.event is None and isinstance(seen.error, NotKnown):
            break
        through = seen.position
        try:
            parts = parts_of(view, seen)
        except BUGS as error:
            line = stream_key(seen.stream)
            count += len(found)
            for touches in found.values():
                touches.setdefault(line, []).append(Touch(seen, error=error))
            blocked[line] = set(found)
            continue
        held_up = blocked.get(stream_key(seen.stream), ()) if blocked else ()
        for slice in held_up:
            found[slice].setdefault(stream_key(seen.stream), []).append(Touch(seen))
        count += len(parts) + len(held_up)
        for key, part in parts.items():
            slice = slice_of(key, slices)
            if slice in found and slice not in held_up:
                found[slice].setdefault(key, []).append(Touch(seen, part))
    return found, through


def fold(view: AnyView, key: str, row: Row | None, touches: Sequence[Touch], encode: Encode, is_checked: bool) -> FoldedRow:
    """The row after these events, or after those before the first that cannot be folded.

    Unless `is_checked`, whether a store could hold the row is left to the store, which looks at every row anyway.
    """
    folded = _fold(view, key, row, touches)
    if folded.failed is None and not (is_checked and folded.row and is_refused(folded.row, encode)):
        return folded
    return _fold(view, key, row, touches, encode)


class PageFold:
    """Folds pages for the views of one store, and remembers the newest rows. Used by one thread."""

    def __init__(self, store: Projection, views: Mapping[str, AnyView]) -> None:
        self._store = store
        self._views = views
        self._caches = {name: RowCache() for name in views}
        self.encode = {name: Columns(view).encode for name, view in views.items()}

    def advances(self, group: Sequence[SliceState], page: Sequence[Seen], is_checked: bool = False) -> list[Advance]:
        """One advance for each slice of a group, all of which stand where the page begins, to where it ends, or as far as a step
        of its view goes. None for one whose next event only another version of the domain can read.

        `is_checked` parks rows that no store could hold; otherwise they are folded, and the store refuses them.
        """
        by_view: dict[str, list[SliceState]] = {}
        for state in group:
            by_view.setdefault(state.id.view, []).append(state)
        found = {name: self._touched(self._views[name], by_view[name], page) for name in sorted(by_view)}
        self._load({name: touches for name, (touches, _) in found.items()}, by_view)
        return [
            self._of_slice(self._views[name], state, page[through - page[0].position], touches[state.id.slice], is_checked)
            for name, (touches, through) in found.items()
            if through
            for state in by_view[name]
        ]

    def committed(self, view: str, rows: Mapping[str, Row | None]) -> None:
        """These rows are the newest now."""
        self._caches[view].put(rows)

    def forget(self, views: Iterable[str]) -> None:
        """Somebody else may have written rows of these views."""
        for view in views:
            self._caches[view].forget()

    def _touched(self, view: AnyView, mine: Sequence[SliceState], page: Sequence[Seen]) -> tuple[dict[int, Touches], int]:
        """By slice, and up to which position a step of the view goes."""
        cache = self._caches[view.name]
        cache.trim()
        parked = {state.id.slice: state.parked.keys() for state in mine}
        return touched(view, page, mine[0].slices, parked, min(TOUCHES_MAX, cache.rows_within(STEP_BYTES_MAX)))

    def _load(self, touches: Mapping[str, Mapping[int, Touches]], states: Mapping[str, Sequence[SliceState]]) -> None:
        """What is touched and not remembered, of all views together."""
        missing = {
            name: self._caches[name].missing(
                {key for state in states[name] for key in by_slice[state.id.slice] if key not in state.parked}
            )
            for name, by_slice in touches.items()
        }
        wanted = {name: keys for name, keys in missing.items() if keys}
        stored = self._store.load_together(wanted) if wanted else {}
        for name, keys in wanted.items():
            self._caches[name].put({key: stored[name].get(key) for key in keys})

    def _of_slice(self, view: AnyView, state: SliceState, last: Seen, touches: Touches, is_checked: bool) -> Advance:
        rows, waiting, errors, recorded_at = {}, {}, {}, []
        cache, encode = self._caches[view.name], self.encode[view.name]
        for key, line in touches.items():
            done = 0
            if key not in state.parked:
                folded = fold(view, key, cache.take(key), line, encode, is_checked)
                done = len(line) if folded.failed is None else folded.failed
                if folded.failed is not None:
                    errors[key] = folded.error
                if done:
                    rows[key] = folded.row
                    recorded_at += [touch.seen.recorded_at for touch in line[:done]]
            if done < len(line):
                waiting[key] = [touch.seen.position for touch in line[done:]]
        return Advance(
            slice=state.id,
            expected=state.position,
            position=last.position,
            rows=rows,
            waiting=waiting,
            errors=errors,
            lines={key: first for key, first in state.parked.items() if key in waiting or is_stream_key(key)},
            recorded_at=tuple(recorded_at),
            mark=last.mark,
        )


def parked_whole(advance: Advance, position: int, refusal: Exception) -> Advance:
    """A step over the one event at `position` that folds nothing: every key it touches is parked there."""
    error = error_text(refusal)
    touched_keys = advance.rows.keys() | advance.errors.keys()
    return Advance(
        slice=advance.slice,
        expected=advance.expected,
        position=advance.position,
        rows={},
        waiting={**advance.waiting, **{key: [position] for key in touched_keys}},
        errors={**{key: error for key in touched_keys}, **advance.errors},
        lines=advance.lines,
        mark=advance.mark,
    )


def error_text(error: BaseException) -> str:
    """An error as an operator needs it: what it was, and where."""
    text = "".join(traceback.format_exception(error))
    return text[-ERROR_CHARS_MAX:].replace("\0", "").encode(errors="replace").decode()


def is_refused(row: Row, encode: Encode) -> bool:
    """Whether no store could hold it."""
    try:
        encode(row.key, row.value)
    except Exception:
        return True
    return False


def _fold(view: AnyView, key: str, row: Row | None, touches: Sequence[Touch], encode: Encode | None = None) -> FoldedRow:
    value = None if row is None else row.value
    position = 0 if row is None else row.position
    evolve = view.evolved
    for index, touch in enumerate(touches):
        try:
            if touch.error is not None:
                raise touch.error
            about = touch.seen.about
            following = evolve(value, touch.seen.event, about.of(key, touch.part))
            if encode is not None and following is not None:
                encode(key, following)
        except BUGS as error:
            return FoldedRow(None if value is None else Row(key, value, position), index, error_text(error))
        value, position = following, about.position
    return FoldedRow(None if value is None else Row(key, value, position))
