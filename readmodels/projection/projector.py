"""Projectors: what makes views follow the log.

Rings and ticks wake one follower for each kind of store, each in a thread of its own, so that a store that does not answer holds
up nobody else's views. All of them read the log through one window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from threading import Event, Thread

from twofold.kernel.codec import Codec
from twofold.kernel.ports import Bell, LogPages, Projection
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.projection.follower import Follower
from twofold.subscriptions.window import Window

PAGE_EVENTS = 1_000
"""Events folded into one commit: more costs memory and latency, fewer cost commits (see bench/replay.py)."""


class Projector:
    """Folds the slices it holds. `hold` may be called from any thread, `run` from one."""

    def __init__(
        self,
        events: LogPages,
        store: Projection,
        views: Iterable[AnyView],
        codec: Codec,
        bell: Bell,
        page_events: int = PAGE_EVENTS,
    ) -> None:
        """`store` has prepared the views; those that are not folded asynchronously are left to others."""
        followed = [view for view in views if view.sync == "async"]
        window = Window(events, codec, followed)
        self._bell = bell
        self._followers = {
            kind: Follower(window, store, {view.name: view for view in followed if view.store == kind}, bell, page_events)
            for kind in sorted({view.store for view in followed})
        }

    def hold(self, slices: Collection[SliceId]) -> None:
        """Fold exactly these slices from now on; others are let go within a page."""
        for follower in self._followers.values():
            follower.hold(slices)

    def run(self, stop: Event) -> None:
        """Fold until `stop` is set; returns within a page. Never raises: what fails is logged and tried again."""
        silence = self._bell.listen(on_ring=self._ring)
        threads = [
            Thread(target=follower.run, args=(stop,), name=f"projector {kind}", daemon=True)
            for kind, follower in self._followers.items()
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        self._ring(0)
        for thread in threads:
            thread.join()
        silence()

    def _ring(self, position: int) -> None:
        for follower in self._followers.values():
            follower.ring()
