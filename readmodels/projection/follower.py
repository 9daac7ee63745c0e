"""Follows the log into the views of one store: page after page, rows and checkpoints in one commit.

    hold ──> believe (positions, parked) ──> read a page ──> fold ──> commit ──> tell
                 ^                                                      │
                 └──── refused, or unknown whether it was applied ──────┘

Slices that stand at the same checkpoint go through a page together. In one round every group near the head has its turn, and of
the groups far behind the last one, whose page ends where the next group stands: so a rebuild never starves the head, and
groups that catch up with each other go on as one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from threading import Event, Lock

import structlog

from twofold.kernel.backoff import Backoff
from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import Bell, Projection
from twofold.kernel.rows import Advance, ParkedKey, Progress
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.projection.drains import Drains, refused
from twofold.readmodels.projection.folding import told
from twofold.readmodels.projection.held import Held, believed
from twofold.readmodels.projection.steps import Steps, parked_whole
from twofold.subscriptions.window import Seen, Window

RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.1, 2.0
TICK_SECONDS = 0.25
"""A lost ring costs at most this much, and so does an operator's request."""
PACE_SECONDS = 0.010
"""Rings that come closer together than this share a round: the first after a pause is followed at once, a crowd of them in
one commit each time. Under load it is the difference between a commit for every worker's batch and one for several."""
DOUBT_SECONDS = 1.0
"""How often checkpoints are looked up although nothing happened: a store that was emptied does not say so."""


class Follower:
    """One thread runs it; `hold` and `ring` may be called from any other."""

    def __init__(self, window: Window, store: Projection, views: Mapping[str, AnyView], bell: Bell, page_events: int) -> None:
        self._window = window
        self._store = store
        self._views = views
        self._bell = bell
        self._page_events = page_events
        self._steps = Steps(store, views)
        self._drains = Drains(window, store)
        self._backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        self._rung = Event()
        self._lock = Lock()
        self._wanted: frozenset[SliceId] = frozenset()
        self._held: dict[SliceId, Held] = {}
        self._doubted_at = self._drained_at = 0.0

    def hold(self, slices: Collection[SliceId]) -> None:
        """Fold exactly these slices from now on."""
        with self._lock:
            self._wanted = frozenset(slice_id for slice_id in slices if slice_id.view in self._views)
        self._rung.set()

    def ring(self) -> None:
        self._rung.set()

    def run(self, stop: Event) -> None:
        """Follow until told to stop. What fails is tried again, ever more slowly; what a failed commit did is looked up."""
        while not stop.is_set():
            self._rung.clear()
            began = time.monotonic()
            try:
                is_behind = self.round()
            except Exception as error:
                self._forget(list(self._held))
                self._backoff.failed()
                _complain(error, self._backoff.seconds)
                stop.wait(self._backoff.seconds)
                continue
            self._backoff.succeeded()
            if not is_behind and self._rung.wait(TICK_SECONDS):
                stop.wait(max(0.0, began + PACE_SECONDS - time.monotonic()))

    def round(self) -> bool:
        """One page for every group whose turn it is. Whether there may be more to do at once."""
        self._take_over()
        is_behind = False
        for position, group in self._turns():
            limit = self._limit(position)
            page = self._window.after(position, limit)
            if page:
                self._step(group, page)
            is_behind = is_behind or len(page) == limit
        return self._drain() or is_behind

    def _take_over(self) -> None:
        """Let go of slices no longer ours; look up where new ones stand, and now and then where all of them do."""
        with self._lock:
            wanted = self._wanted
        self._forget([slice_id for slice_id in self._held if slice_id not in wanted])
        if time.monotonic() - self._doubted_at > DOUBT_SECONDS:
            self._doubted_at = time.monotonic()
            self._doubt()
        fresh = wanted - self._held.keys()
        if fresh:
            self._held |= believed(self._store, fresh)

    def _doubt(self) -> None:
        views = {slice_id.view for slice_id in self._held}
        positions = {slice_id: position for view in views for slice_id, position in self._store.positions(view).items()}
        self._forget([slice_id for slice_id, held in self._held.items() if positions.get(slice_id) != held.position])

    def _forget(self, slices: Collection[SliceId]) -> None:
        self._steps.forget({slice_id.view for slice_id in slices})
        for slice_id in slices:
            self._held.pop(slice_id, None)

    def _turns(self) -> list[tuple[int, list[Held]]]:
        """Groups of slices by checkpoint: those near the head, and the last of those far behind. Lowest first."""
        groups: dict[int, list[Held]] = {}
        for held in self._held.values():
            groups.setdefault(held.position, []).append(held)
        last = min(groups, default=0)
        return [(position, groups[position]) for position in sorted(groups) if position == last or self._window.is_near(position)]

    def _limit(self, position: int) -> int:
        """A page, but not beyond where the next group stands, so that the two go on as one."""
        return min([self._page_events, *(held.position - position for held in self._held.values() if held.position > position)])

    def _step(self, group: Sequence[Held], page: Sequence[Seen]) -> None:
        """Take these slices, which stand where the page begins, to its end.

        If the store refuses, what it could not hold is looked for: first among all rows, then slice by slice, event by event.
        """
        if self._commit(self._steps.advances(group, page)) is None:
            return
        advances = self._steps.advances(group, page, is_checked=True)
        if self._commit(advances) is None:
            return
        for held, advance in zip(
            sorted(group, key=lambda held: held.id), sorted(advances, key=lambda one: one.slice), strict=True
        ):
            if self._commit([advance]) is not None:
                self._event_by_event(held, page)

    def _event_by_event(self, held: Held, page: Sequence[Seen]) -> None:
        """Find out what the store refuses although folding found nothing wrong with it.

        All keys of a refused event are parked at it, and then drained as if an operator had asked for it: what the store refuses
        for its own sake stays parked.
        """
        for seen in page:
            if self._held.get(held.id) is not held:
                return
            [advance] = self._steps.advances([held], [seen], is_checked=True)
            refusal = self._commit([advance])
            if refusal is None:
                continue
            parked = parked_whole(advance, seen.position, refusal)
            if (worse := self._commit([parked])) is not None:
                raise worse
            for key in parked.errors:
                self._work_off(held, key, is_discarding=False)

    def _drain(self) -> bool:
        """Work off the lines an operator has asked for, a page of each. Whether one of them goes on."""
        if time.monotonic() - self._drained_at < TICK_SECONDS or not any(held.parked for held in self._held.values()):
            return False
        goes_on = False
        for view in sorted({slice_id.view for slice_id, held in self._held.items() if held.parked}):
            for parked in self._store.parked(view):
                if (held := self._held.get(parked.slice)) is not None and _is_asked_for(parked) and parked.key in held.parked:
                    goes_on = self._work_off(held, parked.key, parked.discard_requested) or goes_on
        self._drained_at = 0.0 if goes_on else time.monotonic()
        return goes_on

    def _work_off(self, held: Held, key: str, is_discarding: bool) -> bool:
        """A page of one line, or its first event alone if the store refuses the page. Whether more of it can be drained."""
        view, keep = self._views[held.id.view], self._steps.keep[held.id.view]
        for limit in (self._page_events, 1):
            if self._held.get(held.id) is not held or key not in held.parked:
                return False
            advance = self._drains.advance(view, held, key, keep, is_discarding, limit)
            refusal = self._commit([advance])
            if refusal is None:
                return key not in advance.errors and key not in advance.unparked
        worse = self._commit([refused(held, key, told(refusal))]) if refusal else None
        if worse is not None:
            raise worse
        return False

    def _commit(self, advances: Sequence[Advance]) -> Exception | None:
        """Commit, believe it, tell it. Returns what the store has against the data. Raises Unavailable."""
        try:
            moved = self._store.commit(advances)
        except Unavailable:
            raise
        except Exception as refusal:
            structlog.get_logger().warning("the store refuses rows", error=type(refusal).__name__)
            return refusal
        progress = []
        for advance in advances:
            if advance.slice in moved:
                self._held[advance.slice].advanced(advance)
                self._steps.committed(advance)
                progress.append(Progress(*advance.slice, advance.position))
        self._forget([advance.slice for advance in advances if advance.slice not in moved])
        if progress:
            self._bell.advanced(progress)
        return None


def _is_asked_for(parked: ParkedKey) -> bool:
    return parked.retry_requested or parked.discard_requested


def _complain(error: Exception, again_in_seconds: float) -> None:
    log = structlog.get_logger()
    if isinstance(error, Unavailable):
        log.warning("waiting for a neighbour", neighbour=str(error), again_in_seconds=again_in_seconds)
    else:
        log.error("folding failed", exc_info=error, again_in_seconds=again_in_seconds)
