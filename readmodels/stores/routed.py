"""Many view stores behind one port: each view's questions and commits go to the store it lives in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Drain, Found, Generation, ParkedKey, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId


class RoutedViewStore:
    """Sends each view to its store. A question about all views asks every store, and fails when one does not answer."""

    def __init__(self, stores: Mapping[str, ViewStore]) -> None:
        """`stores` has the store of every view, by the view's name; a store may stand behind several views."""
        self._stores = dict(stores)
        behind = self._asked(None)
        self.promises = Promises(
            is_atomic=all(store.promises.is_atomic for store in behind),
            commits_views_together=all(store.promises.commits_views_together for store in behind) and len(behind) <= 1,
        )

    def make(self, view: AnyView, slices: int) -> Generation:
        return self._stores[view.name].make(view, slices)

    def attach(self, view: AnyView) -> Generation:
        return self._stores[view.name].attach(view)

    def positions(self, view: str | None = None) -> dict[SliceId, int]:
        found: dict[SliceId, int] = {}
        for store in self._asked(view):
            found |= store.positions(view)
        return found

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        return self._stores[view].load(view, keys)

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """One transaction in each store concerned; those before one that fails stay committed."""
        moved: set[SliceId] = set()
        for store in {id(one): one for one in (self._stores[advance.slice.view] for advance in advances)}.values():
            moved |= store.commit([advance for advance in advances if self._stores[advance.slice.view] is store])
        return moved

    def drain(self, drain: Drain) -> bool:
        return self._stores[drain.slice.view].drain(drain)

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        return self._stores[view].get(view, keys)

    def find(self, view: str, query: Query) -> RowPage:
        return self._stores[view].find(view, query)

    def parked(self, view: str | None = None) -> list[ParkedKey]:
        return [parked for store in self._asked(view) for parked in store.parked(view)]

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        return self._stores[slice_id.view].waiting(slice_id, key, limit)

    def request_retry(self, view: str, key: str) -> bool:
        return self._stores[view].request_retry(view, key)

    def discard(self, view: str, key: str) -> bool:
        return self._stores[view].discard(view, key)

    def _asked(self, view: str | None) -> list[ViewStore]:
        if view is not None:
            return [self._stores[view]]
        return list({id(store): store for store in self._stores.values()}.values())
