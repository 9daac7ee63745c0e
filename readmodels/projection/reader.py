"""The slices of one store's views, following the log: rows and checkpoints in one commit.

hold ──> take over (positions, parked) ──> a page ──> fold ──> commit ──> tell
             ^                                           │
             └──── refused, or unknown whether it was applied ─────┘

A slice that stands on an event which is not in the log is diverged: the log has lost its tail, or is another one. It is let be,
and looked at again every VERIFY_SECONDS; its rows may show what never was, so they have to be folded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from threading import Lock

import structlog

from twofold.kernel.errors import Tracebacks, Unavailable
from twofold.kernel.ids import marked_position
from twofold.kernel.ports import Bell, Projection
from twofold.kernel.rows import Advance, Drain, Progress
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.projection.fold import PageFold, error_text, parked_whole
from twofold.readmodels.projection.pace import Pace
from twofold.readmodels.projection.parked_lines import ParkedLineFold, refused
from twofold.readmodels.projection.refusals import told
from twofold.readmodels.projection.state import SliceState, reload
from twofold.subscriptions.log_cache import LogCache, Seen
from twofold.subscriptions.subscription import TICK_SECONDS

Seconds = Callable[[], float]
"""A clock that never goes back."""


class SliceReader:
    """A Reader of a Subscription, whose thread calls it; `hold` may be called from any."""

    def __init__(
        self, log: LogCache, store: Projection, views: Mapping[str, AnyView], bell: Bell, page_events: int, seconds: Seconds
    ) -> None:
        self._log = log
        self._store = store
        self._views = views
        self._bell = bell
        self._page_events = page_events
        self._seconds = seconds
        self._folds = PageFold(store, views)
        self._lines = ParkedLineFold(log, store)
        self._lock = Lock()
        self._wanted: frozenset[SliceId] = frozenset()
        self._states: dict[SliceId, SliceState] = {}
        self._diverged: set[SliceId] = set()
        self._told: frozenset[str] = frozenset()
        self._held_up: set[SliceId] = set()
        """Their next event is of a later version. Let be, and looked at again as those that are diverged."""
        self._told_held_up: set[str] = set()
        self._tracebacks = Tracebacks()
        self._drained_at = 0.0
        self._paces: Mapping[tuple[str, int], Pace] = {}
        self._is_short = False
        """Whether a step ended before its page did."""

    def hold(self, slices: Collection[SliceId]) -> None:
        """Fold exactly these slices from now on."""
        with self._lock:
            self._wanted = frozenset(slice_id for slice_id in slices if slice_id.view in self._views)

    def is_idle(self) -> bool:
        return not self._wanted

    def throttle(self, paces: Mapping[tuple[str, int], Pace]) -> None:
        """Fold these generations (view, number) no faster than so."""
        self._paces = paces

    def take_over(self) -> None:
        with self._lock:
            wanted = self._wanted
        self._forget([slice_id for slice_id in self._states if slice_id not in wanted])
        fresh = wanted - self._states.keys() - self._diverged
        if fresh:
            self._states |= reload(self._store, fresh)
            self._leave_diverged([self._states[slice_id] for slice_id in fresh if slice_id in self._states])
            self._told = frozenset(slice_id.view for slice_id in self._diverged)

    def verify(self) -> None:
        self._diverged.clear()
        self._held_up.clear()
        self._leave_diverged(list(self._states.values()))
        if not self._states:
            return
        positions = self._store.positions(*sorted({slice_id.view for slice_id in self._states}))
        self._forget([slice_id for slice_id, state in self._states.items() if positions.get(slice_id) != state.position])

    def checkpoints(self) -> Mapping[SliceId, int]:
        standing = {slice_id: state.position for slice_id, state in self._states.items() if slice_id not in self._held_up}
        if self._paces:
            now, paces = self._seconds(), self._paces
            return {one: at for one, at in standing.items() if one[:2] not in paces or paces[one[:2]].is_due(at, now)}
        return standing

    def step(self, keys: Sequence[SliceId], page: Sequence[Seen]) -> None:
        """If the store refuses, what it could not hold is looked for: among all rows, then slice by slice, event by event."""
        self._leave_diverged([self._states[slice_id] for slice_id in keys if slice_id in self._states])
        group = [self._states[slice_id] for slice_id in keys if slice_id in self._states]
        advances = self._folds.advances(group, page)
        self._hold_up({state.id for state in group} - {advance.slice for advance in advances}, page)
        self._is_short = self._is_short or any(advance.position < page[-1].position for advance in advances)
        if not advances or self._commit(advances) is None:
            return
        advances = self._folds.advances(group, page, is_checked=True)
        if self._commit(advances) is None:
            return
        states = {state.id: state for state in group}
        for advance in sorted(advances, key=lambda one: one.slice):
            if self._commit([advance]) is not None:
                self._event_by_event(states[advance.slice], [seen for seen in page if seen.position <= advance.position])

    def rest(self) -> bool:
        """Work off the lines an operator has asked for, a page of each. Whether one of them goes on, or a step was short."""
        is_short, self._is_short = self._is_short, False
        if self._seconds() - self._drained_at < TICK_SECONDS or not any(state.parked for state in self._states.values()):
            return is_short
        goes_on = False
        for view in sorted({slice_id.view for slice_id, state in self._states.items() if state.parked}):
            for line in self._store.parked_lines(view, only_requested=True):
                state = self._states.get(line.slice)
                if state is not None and line.key in state.parked:
                    goes_on = self._work_off(state, line.key, line.request == "discard") or goes_on
        self._drained_at = 0.0 if goes_on else self._seconds()
        return goes_on or is_short

    def forget(self) -> None:
        self._forget(list(self._states))

    def _forget(self, slices: Collection[SliceId]) -> None:
        self._folds.forget({slice_id.view for slice_id in slices})
        for slice_id in slices:
            self._states.pop(slice_id, None)

    def _leave_diverged(self, states: Sequence[SliceState]) -> None:
        """Forget those of these slices that do not stand where the log is; say so once."""
        found: dict[tuple[str, int], bool] = {}
        for state in states:
            stands_on = state.mark, marked_position(state.mark) or state.position
            if stands_on not in found:
                there = self._log.mark(stands_on[1])
                found[stands_on] = there is not None and state.mark in ("", there)
            if not found[stands_on]:
                self._diverged.add(state.id)
        self._forget([state.id for state in states if state.id in self._diverged])
        diverged = frozenset(slice_id.view for slice_id in self._diverged)
        for view in sorted(diverged - self._told):
            structlog.get_logger().error("diverged from the log", view=view, fix=f"twofold rebuild {view}")
        self._told |= diverged

    def _hold_up(self, slices: Set[SliceId], page: Sequence[Seen]) -> None:
        """Processes of the version that wrote the next event know it, and have rows of their own for these views."""
        self._held_up |= slices
        views = {slice_id.view for slice_id in slices}
        for view in sorted(views - self._told_held_up):
            structlog.get_logger().warning("waits at an event of a later version", view=view, position=page[0].position)
        self._told_held_up |= views

    def _event_by_event(self, state: SliceState, page: Sequence[Seen]) -> None:
        """Find out what the store refuses although folding found nothing wrong with it.

        All keys of a refused event are parked at it, and then drained as if an operator had asked for it: what the store refuses
        for its own sake stays parked.
        """
        for seen in page:
            if self._states.get(state.id) is not state:
                return
            [advance] = self._folds.advances([state], [seen], is_checked=True)
            refusal = self._commit([advance])
            if refusal is None:
                continue
            parked = parked_whole(advance, seen.position, refusal)
            if (worse := self._commit([parked], is_final=False)) is not None:
                raise worse
            for key in parked.errors:
                self._work_off(state, key, is_discarding=False)
            self._tell_parked(state.id.view, {key: error for key, error in parked.errors.items() if key in state.parked})

    def _work_off(self, state: SliceState, key: str, is_discarding: bool) -> bool:
        """A page of one line, or its first event alone if the store refuses the page. Whether more of it can be drained."""
        view, encode = self._views[state.id.view], self._folds.encode[state.id.view]
        refusal: Exception | None = None
        for limit in (self._page_events, 1):
            if self._states.get(state.id) is not state or key not in state.parked:
                return False
            drain = self._lines.drain(view, state, key, encode, is_discarding, limit)
            refusal = self._drain(state, drain)
            if refusal is None:
                return not drain.error and not drain.is_done
        worse = self._drain(state, refused(state, key, error_text(refusal))) if refusal else None
        if worse is not None:
            raise worse
        return False

    def _tell_parked(self, view: str, errors: Mapping[str, str]) -> None:
        """Log how many keys were parked, with where the bug is the first time; what it said is kept with each key."""
        if errors:
            places = [at for error in errors.values() if (at := self._tracebacks.untold(error))]
            more = {"tracebacks": places} if places else {}
            structlog.get_logger().error("keys parked", view=view, keys=len(errors), fix="twofold parked list", **more)

    def _commit(self, advances: Sequence[Advance], is_final: bool = True) -> Exception | None:
        """Commit, keep it in mind, tell it. Returns what the store has against the data. Raises Unavailable. What is parked is
        told unless it is to be tried again at once."""
        try:
            moved = self._store.commit(advances)
        except Unavailable:
            raise
        except Exception as refusal:
            return told(refusal, advances, self._folds.encode)
        progress = []
        for advance in advances:
            if advance.slice in moved:
                self._states[advance.slice].advanced(advance)
                self._folds.committed(advance.slice.view, advance.rows)
                progress.append(Progress(*advance.slice, advance.position))
        self._forget([advance.slice for advance in advances if advance.slice not in moved])
        for view in sorted({advance.slice.view for advance in advances if is_final and advance.errors}):
            mine = [advance for advance in advances if advance.slice.view == view and advance.slice in moved]
            self._tell_parked(view, {key: error for advance in mine for key, error in advance.errors.items()})
        if progress:
            self._bell.advanced(progress)
        return None

    def _drain(self, state: SliceState, drain: Drain) -> Exception | None:
        """The same for a drain. Where a line begins that is not worked off is looked up before it is touched again."""
        try:
            is_applied = self._store.drain(drain)
        except Unavailable:
            raise
        except Exception as refusal:
            return told(refusal, [drain], self._folds.encode)
        if not is_applied or (drain.through is not None and not drain.is_done):
            self._forget([state.id])
        elif drain.is_done:
            del state.parked[drain.key]
        self._folds.committed(state.id.view, drain.rows if is_applied else {})
        if is_applied:
            self._bell.advanced([Progress(*state.id, state.position)])
        return None
