"""Rows in memory: a twin of the view stores, which passes their suite and lives as long as the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.kernel import rows as words
from twofold.kernel.builds import Build
from twofold.kernel.counting import counted_by_pages
from twofold.kernel.errors import Misconfigured
from twofold.kernel.ids import slice_of
from twofold.kernel.rows import Advance, Drain, Found, Generation, ParkedKey, Promises, Query, Row, RowPage, Search
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.columns import Columns, is_stream_key, queryable_key
from twofold.readmodels.schema.query import checked_query
from twofold.readmodels.schema.searching import checked_search
from twofold.readmodels.schema.shape import Reading, reading_of, shape_of
from twofold.testing.memory_rebuilds import Kept, MemoryRebuilds
from twofold.testing.memory_search import anchor as place
from twofold.testing.memory_search import is_in, plain, search

OWN_STATES = ("live", "building", "retired")
NOTHING_ASKED = {"retry_requested": False, "discard_requested": False}
Line = tuple[SliceId, str]


class MemoryViewStore(MemoryRebuilds):
    """Ports Rows, Projection and ParkedKeys. Thread-safe."""

    promises = Promises(is_atomic=True, commits_views_together=False)

    def __init__(self, owner: MemoryViewStore | None = None) -> None:
        """`owner`: the store beside which this one works, on its rows."""
        super().__init__(owner)
        self._attached: dict[str, Kept] = {}
        self._readings: dict[str, Reading | None] = {}
        self._parked: dict[Line, ParkedKey] = owner._parked if owner else {}
        self._lines: dict[Line, list[int]] = owner._lines if owner else {}

    def beside(self) -> MemoryViewStore:
        return MemoryViewStore(self)

    def make(self, view: AnyView, slices: int) -> Generation:
        with self._lock:
            kept = self.kept.setdefault(view.name, [])
            live = any(one.generation.state == "live" for one in kept)
            own = self._own(view)
            if own is None:
                number = max((one.generation.number for one in kept), default=0) + 1
                generation = Generation(view.name, number, slices, "retired")
                own = Kept(view, generation, shape_of(view), dict.fromkeys(generation.slice_ids(), 0), {})
                kept.append(own)
            lives = [one.shape for one in kept if one.generation.state == "live"]
            for one in kept if own.generation.state == "retired" else []:
                if one.generation.state != "live" and one.shape in lives:
                    one.generation = msgspec.structs.replace(one.generation, state="dropped")
            if own.generation.state == "retired":
                self._set_state(own, "building" if live else "live")
            return self.attach(view)

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        with self._lock:
            own = self._own(view) if build is None else self._kept(build.generation)
            if own is None:
                raise Misconfigured(f"view {view.name}: rows of its shape have not been made; run `twofold migrate`")
            self._readings[view.name] = reading_of(view, own.shape)
            self._attached[view.name] = own
            return own.generation

    def swap(self, generation: Generation, position: int) -> bool:
        with self._lock:
            own = self._kept(generation)
            if own.generation.state != "building" or min(own.positions.values()) < position:
                return False
            self._set_state(own, "live")
            return True

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None: ...
    def positions(self, *views: str) -> dict[SliceId, int]:
        with self._lock:
            builds = [self._attached[view] for view in views or self._attached]
            return {slice_id: position for build in builds for slice_id, position in build.positions.items()}

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        with self._lock:
            kept = {name: one for name, one in self._attached.items() if view in (None, name)}.values()
            return {slice_id: one.marks.get(slice_id, "") for one in kept for slice_id in one.positions}

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        with self._lock:
            rows = self._attached[view].rows
            return {key: rows[key] for key in keys if key in rows}

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        return {view: self.load(view, keys) for view, keys in wanted.items()}

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        with self._lock:
            for advance in advances:
                self._refuse(advance)
            standing = [advance for advance in advances if self._is_standing(advance.slice, advance.expected, advance.lines)]
            for advance in standing:
                self._write(advance)
                self._attached[advance.slice.view].positions[advance.slice] = advance.position
                self._attached[advance.slice.view].marks[advance.slice] = advance.mark
                for key, positions in advance.waiting.items():
                    self._extend((advance.slice, key), positions, advance.errors.get(key, ""))
            return {advance.slice for advance in standing}

    def drain(self, drain: Drain) -> bool:
        with self._lock:
            self._refuse(drain)
            if not self._is_standing(drain.slice, drain.expected, {drain.key: drain.first}):
                return False
            self._write(drain)
            line = (drain.slice, drain.key)
            if drain.through is not None:
                self._lines[line] = [position for position in self._lines[line] if position > drain.through]
            if drain.is_done:
                del self._parked[line], self._lines[line]
                return True
            left, parked = self._lines[line], self._parked[line]
            is_retried = parked.retry_requested or (parked.discard_requested and drain.through is not None)
            requests = {"retry_requested": is_retried, "discard_requested": parked.discard_requested and not is_retried}
            parked = msgspec.structs.replace(parked, position=left[0], waiting=len(left), **requests)
            if drain.error:
                parked = msgspec.structs.replace(parked, error=drain.error, attempts=parked.attempts + 1, **NOTHING_ASKED)
            self._parked[line] = parked
            return True

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        with self._lock:
            build = self._attached[view]
            slices = [build.generation.slice_ids()[slice_of(queryable_key(key), build.generation.slices)] for key in keys]
            reading = self._readings[view]
            found = [self._found(build, key, one) for key, one in zip(keys, slices, strict=True)]
            return [reading.found(one) for one in found] if reading else found

    def find(self, view: str, query: Query) -> RowPage:
        with self._lock:
            build, reading = self._attached[view], self._readings[view]
            columns = Columns(reading.stored if reading else build.view)
            if isinstance(query, Search):
                sought = reading.searched(columns, query) if reading else checked_search(build.view, columns, query)
                answer = search(list(build.rows.values()), sought, min(build.positions.values()), bool(self.parked(view)))
                return reading.page(answer) if reading else answer
            asked = reading.checked(columns, query) if reading else checked_query(build.view, columns, query)
            order = asked.order

            def anchor(row: Row) -> tuple[Any, ...]:
                return place(None if order is None else plain(order, row), row.key)

            rows = [row for row in build.rows.values() if all(plain(column, row) == value for column, value in asked.equal)]
            for span in (*asked.beside, *([asked.span] if asked.span else [])):
                rows = [row for row in rows if is_in(span, plain(span.column, row))]
            rows.sort(key=anchor, reverse=asked.descending)
            if asked.after is not None:
                after = place(*asked.after)
                rows = [row for row in rows if (anchor(row) < after if asked.descending else anchor(row) > after)]
            page = rows[: asked.limit]
            following = asked.cursor(page[-1]) if len(rows) > len(page) else None
            found = RowPage(page, following, min(build.positions.values()), bool(self.parked(view)))
            return reading.page(found) if reading else found

    def count(self, view: str, query: Query, most: int) -> int:
        return counted_by_pages(self.find, view, query, most)

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        with self._lock:
            numbers = {name: build.generation.number for name, build in self._attached.items() if view in (None, name)}
            asked = [one for one in self._parked.values() if key in (None, one.key)]
            found = sorted(asked, key=lambda one: (one.position, one.key))
            return [one for mine in numbers.items() for one in [one for one in found if one.slice[:2] == mine][:limit]]

    def parked_lines(self, view: str, only_requested: bool = False) -> list[words.ParkedLine]:
        found = [(one, "retry" if one.retry_requested else "discard" * one.discard_requested) for one in self.parked(view)]
        return [words.ParkedLine(one.slice, one.key, one.position, asked) for one, asked in found if asked or not only_requested]

    def parked_counts(self) -> dict[str, int]:
        return dict(Counter(view for view, _ in {(one.slice.view, one.key) for one in self.parked()}))

    def rekeyed(self, view: str) -> int | None:
        return min((one.position for one in self.parked(view) if one.error.startswith(words.REKEYED)), default=None)

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        with self._lock:
            return self._lines.get((slice_id, key), [])[:limit]

    def request_retry(self, view: str, key: str) -> bool:
        return self._request(view, key, retry_requested=True, discard_requested=False)

    def discard(self, view: str, key: str) -> bool:
        return self._request(view, key, retry_requested=False, discard_requested=True)

    def _found(self, build: Kept, key: str, slice_id: SliceId) -> Found:
        parked = self._parked.get((slice_id, key))
        has_streams = any(line[0] == slice_id and is_stream_key(line[1]) for line in self._parked)
        return Found(build.rows.get(key), slice_id, build.positions[slice_id], parked.position if parked else None, has_streams)

    def _request(self, view: str, key: str, **wanted: bool) -> bool:
        with self._lock:
            lines = [(one.slice, one.key) for one in self.parked(view) if one.key == key]
            for line in lines:
                self._parked[line] = msgspec.structs.replace(self._parked[line], **wanted)
            return bool(lines)

    def _own(self, view: AnyView) -> Kept | None:
        own = [one for one in self.kept.get(view.name, []) if one.shape == shape_of(view) and one.generation.state != "dropped"]
        return min(own, key=lambda one: (OWN_STATES.index(one.generation.state), -one.generation.number), default=None)

    def _is_standing(self, slice_id: SliceId, expected: int, lines: Any) -> bool:
        build = self._attached.get(slice_id.view)
        return (build is not None and build.positions.get(slice_id) == expected) and all(
            self._lines.get((slice_id, key), [None])[0] == first for key, first in lines.items()
        )

    def _refuse(self, act: Advance | Drain) -> None:
        """Raises for a row that no store could hold, before anything is changed."""
        if act.slice.view in self._attached:
            columns = Columns(self._attached[act.slice.view].view)
            for key, row in act.rows.items():
                if row is not None:
                    columns.encode(key, row.value)

    def _write(self, act: Advance | Drain) -> None:
        rows = self._attached[act.slice.view].rows
        for key, row in act.rows.items():
            rows.pop(key, None)
            if row is not None:
                rows[key] = row

    def _extend(self, line: Line, positions: Sequence[int], error: str) -> None:
        self._lines.setdefault(line, []).extend(positions)
        new = ParkedKey(*line, positions[0], error, 0, 1, datetime.now(UTC))
        self._parked[line] = msgspec.structs.replace(self._parked.get(line, new), waiting=len(self._lines[line]))
