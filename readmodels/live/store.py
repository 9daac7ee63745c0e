"""Answers about views that are folded when they are asked for. There is nothing to make and nothing to follow: the log is all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b

from twofold.kernel.builds import Build
from twofold.kernel.codec import Codec
from twofold.kernel.errors import Malformed, Unavailable
from twofold.kernel.rows import Found, Generation, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.live.folding import LogAndStreams, RowsAndLines, fold
from twofold.readmodels.schema.columns import Columns, queryable_key
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.nothing_to_follow import NothingToFollow


class LiveViewStore(NothingToFollow):
    """The port ViewStore for live views, read only. Thread-safe."""

    def __init__(self, log: LogAndStreams, codec: Codec, rows: Callable[[], RowsAndLines]) -> None:
        """`rows` gives those of the other views, which are looked through."""
        self._log = log
        self._codec = codec
        self._rows = rows
        self._views: dict[str, tuple[AnyView, Columns, SliceId]] = {}

    def make(self, view: AnyView, slices: int) -> Generation:
        return self.attach(view)

    def beside(self) -> LiveViewStore:
        return LiveViewStore(self._log, self._codec, self._rows)

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        """Its generation is a number made of its shape: what a changed view answers has another ETag."""
        number = int.from_bytes(blake2b(shape_of(view).encode(), digest_size=4).digest())
        self._views[view.name] = (view, Columns(view), SliceId(view.name, number, 0))
        return Generation(view.name, number, 1)

    def positions(self, *views: str) -> dict[SliceId, int]:
        """Where they would be folded to now: the head, or where the rows stand that they look through. Unless it is asked for by
        name, a view is left out whose rows to look through do not answer."""
        head, _ = self._log.head()
        at: dict[SliceId, int] = {}
        for name in views or self._views:
            with suppress(*(() if views else (Unavailable,))):
                view, _, slice_id = self._views[name]
                at[slice_id] = min([head, *(self._rows().positions(*view.follows).values() if view.follows else ())])
        return at

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        found = {key: self._found(view, key).row for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        return {view: self.load(view, keys) for view, keys in wanted.items()}

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        return [self._found(view, key) for key in keys]

    def find(self, view: str, query: Query) -> RowPage:
        raise not_listed(view)

    def count(self, view: str, query: Query, most: int) -> int:
        raise not_listed(view)

    def _found(self, name: str, key: str) -> Found:
        view, columns, slice_id = self._views[name]
        if queryable_key(key) != key:
            return Found(None, slice_id, self._log.head()[0])
        folded = fold(self._log, self._rows(), self._codec, view, key)
        if folded.row is not None:
            columns.encode(key, folded.row.value)  # what no store would keep is no row here either
        return Found(folded.row, slice_id, folded.position, folded.parked)


def not_listed(view: str) -> Malformed:
    return Malformed(f"{view} is live: its rows are folded when they are asked for, each by its key; there is no list of them")
