"""Projectors: what makes views follow the log.

One subscription for each kind of store, each in a thread of its own, so that a store that does not answer holds up nobody else's
views. All of them read the log through one cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from threading import Event, Thread

from twofold.kernel.codec import Codec
from twofold.kernel.ports import Bell, LogPages, Projection
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.projection.reader import SliceReader
from twofold.subscriptions.log_cache import LogCache
from twofold.subscriptions.subscription import Subscription

PAGE_EVENTS = 1_000
"""Events folded into one commit: more costs memory and latency, fewer cost commits (see bench/replay.py)."""


class Projector:
    """Folds the slices it holds. `hold` may be called from any thread, `run` from one."""

    def __init__(
        self,
        pages: LogPages,
        store: Projection,
        views: Iterable[AnyView],
        codec: Codec,
        bell: Bell,
        page_events: int = PAGE_EVENTS,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`store` is attached to the views; those that are not folded asynchronously are left to others."""
        followed = [view for view in views if view.sync == "async"]
        log = LogCache(pages, codec, {tag for view in followed for tag in view.listened})
        self._bell = bell
        self._readers: list[SliceReader] = []
        self._subscriptions: list[Subscription[SliceId]] = []
        for store_name in sorted({view.store for view in followed}):
            mine = {view.name: view for view in followed if view.store == store_name}
            self._readers.append(SliceReader(log, store, mine, bell, page_events, seconds))
            self._subscriptions.append(Subscription(log, self._readers[-1], page_events, seconds))

    def hold(self, slices: Collection[SliceId]) -> None:
        """Fold exactly these slices from now on; others are let go within a page."""
        for reader in self._readers:
            reader.hold(slices)
        self._wake()

    def run(self, stop: Event) -> None:
        """Fold until `stop` is set; returns within a page. Never raises: what fails is logged and tried again."""
        silences = [self._bell.listen(on_ring=subscription.ring) for subscription in self._subscriptions]
        threads = [
            Thread(target=subscription.run, args=(stop,), name=f"projector {number}", daemon=True)
            for number, subscription in enumerate(self._subscriptions)
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        self._wake()
        for thread in threads:
            thread.join()
        for silence in silences:
            silence()

    def _wake(self) -> None:
        for subscription in self._subscriptions:
            subscription.ring()
