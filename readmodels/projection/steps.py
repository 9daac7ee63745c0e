"""One step of slices over one page: what the page makes of their rows, as the advances a store is to commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance
from twofold.kernel.view import AnyView
from twofold.readmodels.projection.folding import Touches, fold, told, touched
from twofold.readmodels.projection.held import Held, RowCache
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.keys import is_stream_key
from twofold.subscriptions.window import Seen


class Steps:
    """Folds pages for the views of one store, and remembers the newest rows. Used by one thread."""

    def __init__(self, store: Projection, views: Mapping[str, AnyView]) -> None:
        self._store = store
        self._views = views
        self._caches = {name: RowCache() for name in views}
        self.keep = {name: Columns(view).keep for name, view in views.items()}

    def advances(self, group: Sequence[Held], page: Sequence[Seen], is_checked: bool = False) -> list[Advance]:
        """One advance for each slice of a group, all of which stand where the page begins, to where it ends.

        `is_checked` parks rows that no store could hold; otherwise they are folded, and the store refuses them.
        """
        found = []
        for name in sorted({held.id.view for held in group}):
            found += self._of_view(self._views[name], [held for held in group if held.id.view == name], page, is_checked)
        return found

    def committed(self, advance: Advance) -> None:
        """These rows are the newest now."""
        self._caches[advance.slice.view].put(advance.rows)

    def forget(self, views: Iterable[str]) -> None:
        """Somebody else may have written rows of these views."""
        for view in views:
            self._caches[view].forget()

    def _of_view(self, view: AnyView, mine: Sequence[Held], page: Sequence[Seen], is_checked: bool) -> list[Advance]:
        touches = touched(view, page, mine[0].slices, {held.id.slice: held.parked.keys() for held in mine})
        cache = self._caches[view.name]
        cache.trim()
        missing = cache.missing({key for held in mine for key in touches[held.id.slice] if key not in held.parked})
        if missing:
            stored = self._store.load(view.name, missing)
            cache.put({key: stored.get(key) for key in missing})
        return [self._of_slice(view, held, page[-1].position, touches[held.id.slice], is_checked) for held in mine]

    def _of_slice(self, view: AnyView, held: Held, position: int, touches: Touches, is_checked: bool) -> Advance:
        rows, waiting, errors, recorded_at = {}, {}, {}, []
        cache, keep = self._caches[view.name], self.keep[view.name]
        for key, line in touches.items():
            done = 0
            if key not in held.parked:
                folded = fold(view, key, cache.take(key), line, keep, is_checked)
                done = len(line) if folded.failed is None else folded.failed
                if folded.failed is not None:
                    errors[key] = folded.error
                if done:
                    rows[key] = folded.row
                    recorded_at += [touch.seen.recorded_at for touch in line[:done]]
            if done < len(line):
                waiting[key] = [touch.seen.position for touch in line[done:]]
        return Advance(
            slice=held.id,
            expected=held.position,
            position=position,
            rows=rows,
            waiting=waiting,
            errors=errors,
            lines={key: first for key, first in held.parked.items() if key in waiting or is_stream_key(key)},
            recorded_at=tuple(recorded_at),
        )


def parked_whole(advance: Advance, position: int, refusal: Exception) -> Advance:
    """A step over the one event at `position` that folds nothing: every key it touches is parked there."""
    error = told(refusal)
    touched_keys = advance.rows.keys() | advance.errors.keys()
    return Advance(
        slice=advance.slice,
        expected=advance.expected,
        position=advance.position,
        rows={},
        waiting={**advance.waiting, **{key: [position] for key in touched_keys}},
        errors={**{key: error for key in touched_keys}, **advance.errors},
        lines=advance.lines,
    )
