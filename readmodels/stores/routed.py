"""Several stores behind one port: each view's questions and commits go to the store it lives in.

A store that is away touches its own views only. A view is attached when it is first asked for, so a room starts with the stores
that are there; a question about all views asks every store at the same time, and goes without those that do not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from typing import Any, TypeVar

from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Drain, Found, Generation, ParkedKey, ParkedLine, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId

ANSWER_SECONDS_MAX = 1.0
"""How long a question about all views waits for one of several stores. The store is left out until that answer has come."""
THREADS = 2
"""For each store, that such questions may wait on."""

AnswerT = TypeVar("AnswerT")
Choose = Callable[[AnyView, Sequence[Build]], Build | None]


class RoutedViewStore:
    """Sends each view to its store."""

    def __init__(self, stores: Mapping[str, ViewStore], unattached: Iterable[AnyView] = (), choose: Choose | None = None) -> None:
        """`stores` has the store of every view, by the view's name; a store may stand behind several views. `unattached` are
        views that their stores have not been asked for yet; `choose` says which of its generations a view is attached to."""
        self._stores = dict(stores)
        self._choose = choose
        self._unattached = {view.name: view for view in unattached}
        self._generations: dict[str, Generation] = {}
        self._behind = list({id(store): store for store in self._stores.values()}.values())
        self._pools = {id(store): ThreadPoolExecutor(THREADS, thread_name_prefix="every-store") for store in self._behind}
        self._late: dict[int, Future[Any]] = {}
        self.promises = Promises(
            is_atomic=all(store.promises.is_atomic for store in self._behind),
            commits_views_together=all(store.promises.commits_views_together for store in self._behind)
            and len(self._behind) <= 1,
        )

    def make(self, view: AnyView, slices: int) -> Generation:
        return self._known(self._stores[view.name].make(view, slices))

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        store = self._stores[view.name]
        if build is None and self._choose is not None:
            build = self._choose(view, store.builds([view.name]))
        return self._known(store.attach(view, build))

    def generation(self, view: str) -> Generation | None:
        """What the view is attached to; None when its store has not answered yet."""
        return self._generations.get(view)

    def attach_all(self) -> list[Generation]:
        """Attach what has not been, as far as its stores answer. The generations known so far. Raises Misconfigured."""
        away: set[int] = set()
        for view in list(self._unattached.values()):
            if id(self._stores[view.name]) in away:
                continue
            try:
                self.attach(view)
            except Unavailable:
                away.add(id(self._stores[view.name]))
        return list(self._generations.values())

    def beside(self) -> RoutedViewStore:
        others = {id(store): store.beside() for store in self._behind}
        return RoutedViewStore({view: others[id(store)] for view, store in self._stores.items()})

    def builds(self, views: Collection[str]) -> list[Build]:
        """Of the stores that answer."""
        return [
            build
            for found in self._of_all(lambda store: store.builds([view for view in views if self._stores[view] is store]))
            for build in found
        ]

    def swap(self, generation: Generation, position: int) -> bool:
        return self._stores[generation.view].swap(generation, position)

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        def note(store: ViewStore) -> None:
            store.use(member, [one for one in generations if self._stores[one.view] is store], term_seconds)

        self._of_all(note)

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        return self._stores[view.name].rebuild(view, throttle, begun_at, again)

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        def ask(store: ViewStore) -> list[Rebuild]:
            return store.rebuilt([view for view in views if self._stores[view] is store])

        return [rebuild for found in self._of_all(ask) for rebuild in found]

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        return self._stores[rebuild.view].note_rebuild(rebuild)

    def positions(self, *views: str) -> dict[SliceId, int]:
        if not views:
            return {slice_id: at for found in self._of_all(lambda store: store.positions()) for slice_id, at in found.items()}
        stores = {id(store): store for store in map(self._of, views)}.values()
        asked = [(store, [view for view in views if self._stores[view] is store]) for store in stores]
        return {slice_id: at for store, mine in asked for slice_id, at in store.positions(*mine).items()}

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        if view is not None:
            return self._of(view).marks(view)
        return {slice_id: mark for found in self._of_all(lambda store: store.marks()) for slice_id, mark in found.items()}

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        return self._of(view).load(view, keys)

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        found: dict[str, dict[str, Row]] = {}
        for store in {id(one): one for one in map(self._of, wanted)}.values():
            found |= store.load_together({view: keys for view, keys in wanted.items() if self._stores[view] is store})
        return found

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """One transaction in each store concerned; those before one that fails stay committed."""
        moved: set[SliceId] = set()
        for store in {id(one): one for one in (self._of(advance.slice.view) for advance in advances)}.values():
            moved |= store.commit([advance for advance in advances if self._stores[advance.slice.view] is store])
        return moved

    def drain(self, drain: Drain) -> bool:
        return self._of(drain.slice.view).drain(drain)

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        return self._of(view).get(view, keys)

    def find(self, view: str, query: Query) -> RowPage:
        return self._of(view).find(view, query)

    def count(self, view: str, query: Query, most: int) -> int:
        return self._of(view).count(view, query, most)

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        if view is not None:
            return self._of(view).parked(view, key, limit)
        return [parked for found in self._of_all(lambda store: store.parked(None, key, limit)) for parked in found]

    def parked_lines(self, view: str, only_requested: bool = False) -> list[ParkedLine]:
        return self._of(view).parked_lines(view, only_requested)

    def parked_counts(self) -> dict[str, int]:
        return {view: count for found in self._of_all(lambda store: store.parked_counts()) for view, count in found.items()}

    def rekeyed(self, view: str) -> int | None:
        return self._of(view).rekeyed(view)

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        return self._of(slice_id.view).waiting(slice_id, key, limit)

    def request_retry(self, view: str, key: str) -> bool:
        return self._of(view).request_retry(view, key)

    def discard(self, view: str, key: str) -> bool:
        return self._of(view).discard(view, key)

    def close(self) -> None:
        """Let go of the threads; the stores are their openers' to close."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _known(self, generation: Generation) -> Generation:
        self._generations[generation.view] = generation
        self._unattached.pop(generation.view, None)
        return generation

    def _of(self, name: str) -> ViewStore:
        """The store of a view, which knows the view from now on."""
        store = self._stores[name]
        view = self._unattached.get(name)
        if view is not None:
            try:
                self.attach(view)
            except Misconfigured as error:  # a room is refused by it only while it starts
                raise Unavailable(Neighbour.ROWS, "rows have not been made", detail=str(error)) from error
        return store

    def _of_all(self, ask: Callable[[ViewStore], AnswerT]) -> list[AnswerT]:
        """What the stores say that answer in time. Raises what failed when none does, of those there are."""
        if len(self._behind) == 1:
            return [self._asked(self._behind[0], ask)]
        asked = [(store, self._pools[id(store)].submit(self._asked, store, ask)) for store in self._answering()]
        answers: list[AnswerT] = []
        failed: Exception = Unavailable(Neighbour.ROWS)
        for store, future in asked:
            try:
                answers.append(future.result(ANSWER_SECONDS_MAX))
            except TooLate:
                if not future.cancel():
                    self._late[id(store)] = future
            except Unavailable as error:
                failed = error
        if self._behind and not answers:
            raise failed
        return answers

    def _answering(self) -> list[ViewStore]:
        """The stores without those that still owe an answer which came too late."""
        self._late = {store: future for store, future in self._late.items() if not future.done()}
        return [store for store in self._behind if id(store) not in self._late]

    def _asked(self, store: ViewStore, ask: Callable[[ViewStore], AnswerT]) -> AnswerT:
        for name in [name for name in self._unattached if self._stores[name] is store]:
            self._of(name)
        return ask(store)
