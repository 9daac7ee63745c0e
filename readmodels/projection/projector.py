"""Projectors: what makes views follow the log.

One subscription for each store, each in a thread of its own: what one store holds is committed together, and one that does not
answer holds up nobody else's views. All of them read the log through one cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Event, Thread

from twofold.kernel.ports import Bell, Projection
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.projection.pace import Pace
from twofold.readmodels.projection.reader import SliceReader
from twofold.subscriptions.log_cache import LogCache
from twofold.subscriptions.subscription import Subscription

PAGE_EVENTS = 1_000
"""Events folded into one commit: more costs memory and latency, fewer cost commits (see bench/replay.py)."""


class Projector:
    """Folds the slices it holds. `hold` may be called from any thread, `run` from one."""

    def __init__(
        self,
        log: LogCache,
        store: Projection,
        views: Iterable[Collection[AnyView]],
        bell: Bell,
        page_events: int = PAGE_EVENTS,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`store` is attached to the views: in each collection those that it commits together. Those that are not folded
        asynchronously are left to others. `log` decodes what the views listen to."""
        followed = [{view.name: view for view in mine if view.sync == "async"} for mine in views]
        self._bell = bell
        self._paces: dict[tuple[str, int], Pace] = {}
        self._readers: list[SliceReader] = []
        self._subscriptions: list[Subscription[SliceId]] = []
        for mine in followed:
            self._readers.append(SliceReader(log, store, mine, bell, page_events, seconds))
            self._subscriptions.append(Subscription(log, self._readers[-1], page_events, seconds))

    def hold(self, slices: Collection[SliceId]) -> None:
        """Fold exactly these slices from now on; others are let go within a page."""
        for reader in self._readers:
            reader.hold(slices)
        self._wake()

    def throttle(self, events_per_second: Mapping[tuple[str, int], float]) -> None:
        """Fold these generations (view, number), which nobody reads yet, no faster than so from now on."""
        self._paces = {
            one: self._paces[one] if one in self._paces and self._paces[one].events_per_second == rate else Pace(rate)
            for one, rate in events_per_second.items()
        }
        for reader in self._readers:
            reader.throttle(self._paces)

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
            subscription.wake()


class Projectors:
    """One for each of several projections, which are attached to different generations of the same views."""

    def __init__(self, log: LogCache, folded: Iterable[tuple[Projection, Sequence[Collection[AnyView]]]], bell: Bell) -> None:
        """`folded`: projections, each with its views, those together that it commits together."""
        self._all = [Projector(log, store, views, bell) for store, views in folded]

    def hold(self, slices: Sequence[Collection[SliceId]]) -> None:
        """Fold these from now on, by projection."""
        for projector, mine in zip(self._all, slices, strict=True):
            projector.hold(mine)

    def throttle(self, events_per_second: Mapping[tuple[str, int], float]) -> None:
        for projector in self._all:
            projector.throttle(events_per_second)

    def run(self, stop: Event) -> None:
        """Until `stop` is set, all of them."""
        threads = [Thread(target=projector.run, args=(stop,), name="projector") for projector in self._all]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
