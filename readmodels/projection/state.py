"""What a projector knows of the slices it holds: where they stand, which keys are parked, the newest rows it wrote.

That is good for as long as this process's own commits succeed without a break: whoever else moves a slice moves its
checkpoint, and then the compare-and-set refuses ours and what was known is thrown away.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from twofold.kernel.ids import marked_position
from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance, Row
from twofold.kernel.view import SliceId

CACHED_ROWS_MAX = 20_000
CACHED_BYTES_MAX = 64 * 1024 * 1024
"""Rows of one view kept in memory, counted over its slices; and about how much they weigh."""

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class SliceState:
    """One slice, of `slices` in its generation."""

    def __init__(self, slice_id: SliceId, slices: int, position: int, mark: str) -> None:
        self.id = slice_id
        self.slices = slices
        self.position = position
        self.mark = mark
        """Of the event it stands on; "" while that is not known."""
        self.parked: dict[str, int] = {}
        """Where the line of each parked key begins."""

    def advanced(self, advance: Advance) -> None:
        """Our commit of this advance succeeded."""
        self.position, self.mark = advance.position, advance.mark
        for key in advance.errors.keys() & advance.waiting.keys():
            self.parked[key] = advance.waiting[key][0]


class RowCache:
    """The newest rows of one view, None for a key known to have none. Least recently used rows go first."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Row | None] = OrderedDict()
        self._row_bytes = 0

    def missing(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key not in self._rows]

    def take(self, key: str) -> Row | None:
        self._rows.move_to_end(key)
        return self._rows[key]

    def put(self, rows: Mapping[str, Row | None]) -> None:
        self._rows.update(rows)
        some = next((row for row in rows.values() if row is not None), None)
        if some is not None:
            size = len(_encode(some.value))
            self._row_bytes = max(size, (self._row_bytes * 7 + size) // 8)

    def rows_within(self, size: int) -> int:
        """About how many rows weigh so many bytes; one at least. One row of each commit is weighed."""
        return max(1, size // max(1, self._row_bytes))

    def trim(self) -> None:
        rows_max = min(CACHED_ROWS_MAX, self.rows_within(CACHED_BYTES_MAX))
        while len(self._rows) > rows_max:
            self._rows.popitem(last=False)

    def forget(self) -> None:
        self._rows.clear()


def reload(store: Projection, slice_ids: Collection[SliceId]) -> dict[SliceId, SliceState]:
    """Read where these slices stand; those of another generation than the live one are left out.

    Checkpoints are read first: whatever changes afterwards has moved them, and our first commit is refused.
    """
    views = {slice_id.view for slice_id in slice_ids}
    positions = store.positions(*sorted(views)) if views else {}
    marks = {slice_id: mark for view in views for slice_id, mark in store.marks(view).items()}
    marks = {slice_id: mark for slice_id, mark in marks.items() if marked_position(mark) <= positions.get(slice_id, 0)}
    slices = Counter(slice_id.view for slice_id in positions)
    states = {
        slice_id: SliceState(slice_id, slices[slice_id.view], positions[slice_id], marks.get(slice_id, ""))
        for slice_id in slice_ids
        if slice_id in positions
    }
    for view in views:
        for parked in store.parked_lines(view):
            if parked.slice in states:
                states[parked.slice].parked[parked.key] = parked.position
    return states
