"""Folding, without any store: which keys of which slices a page of events touches, and what becomes of their rows.

Nothing here raises because of a domain's bug. A key whose next event cannot be folded, or whose row no store could hold, is
parked at that event; its later events join the line; all other keys are folded as if nothing had happened. When naming
the keys itself fails, there is no key to park: then the event's stream is parked, in every slice, and later events of that
stream join the line in the slices whose keys they touch. (Rows that several streams feed see those events late.)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec

from twofold.kernel.ids import slice_of
from twofold.kernel.messages import tag_of
from twofold.kernel.rows import Row
from twofold.kernel.view import About, AnyView
from twofold.readmodels.schema.keys import is_stream_key, refuse_key, stream_key
from twofold.subscriptions.window import Seen

ERROR_CHARS_MAX = 2_000

Keep = Callable[[str, msgspec.Struct], object]
"""Raises for a row that no store could hold (see columns.py)."""


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An event and the part of it that concerns one key; or, in `error`, why its keys could not be named."""

    seen: Seen
    part: Any = None
    error: Exception | None = None


class Folded(msgspec.Struct):
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


def touched(view: AnyView, page: Iterable[Seen], slices: int, parked: Mapping[int, Set[str]]) -> dict[int, Touches]:
    """For each slice in `parked` (slice to its parked keys), what the page touches there, by key, in log order."""
    found: dict[int, Touches] = {slice: {} for slice in parked}
    blocked = {slice: {key for key in keys if is_stream_key(key)} for slice, keys in parked.items()}
    listened = {tag_of(event) for event in view.on}
    for seen in page:
        if seen.type not in listened:
            continue
        try:
            parts = parts_of(view, seen)
        except Exception as error:
            line = stream_key(seen.stream)
            for slice, touches in found.items():
                touches.setdefault(line, []).append(Touch(seen, error=error))
                blocked[slice].add(line)
            continue
        for key, part in parts.items():
            slice = slice_of(key, slices)
            if slice not in found:
                continue
            line = stream_key(seen.stream) if blocked[slice] else ""
            if line and line in blocked[slice]:
                waiting = found[slice].setdefault(line, [])
                if not waiting or waiting[-1].seen is not seen:
                    waiting.append(Touch(seen))
            else:
                found[slice].setdefault(key, []).append(Touch(seen, part))
    return found


def fold(view: AnyView, key: str, row: Row | None, touches: Sequence[Touch], keep: Keep, is_checked: bool) -> Folded:
    """The row after these events, or after those before the first that cannot be folded.

    Unless `is_checked`, whether a store could hold the row is left to the store, which looks at every row anyway.
    """
    folded = _fold(view, key, row, touches)
    if folded.failed is None and not (is_checked and folded.row and _is_refused(folded.row, keep)):
        return folded
    return _fold(view, key, row, touches, keep)


def told(error: BaseException) -> str:
    """An error as an operator needs it: what it was, and where."""
    text = "".join(traceback.format_exception(error))
    return text[-ERROR_CHARS_MAX:].replace("\0", "").encode(errors="replace").decode()


def _is_refused(row: Row, keep: Keep) -> bool:
    try:
        keep(row.key, row.value)
    except Exception:
        return True
    return False


def _fold(view: AnyView, key: str, row: Row | None, touches: Sequence[Touch], keep: Keep | None = None) -> Folded:
    value = None if row is None else row.value
    position = 0 if row is None else row.position
    evolve = view.evolve
    for place, touch in enumerate(touches):
        try:
            if touch.error is not None:
                raise touch.error
            about = touch.seen.about
            full = About(about.position, about.stream, about.version, about.recorded_at, key, touch.part)
            following = evolve(value, touch.seen.event, full)
            if keep is not None and following is not None:
                keep(key, following)
        except Exception as error:
            return Folded(None if value is None else Row(key, value, position), place, told(error))
        value, position = following, about.position
    return Folded(None if value is None else Row(key, value, position))
