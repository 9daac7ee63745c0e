"""The slices that a projector may fold: found at once where the stores answer, and later where one is away as the room starts.

A view may have two generations of the shape that this process knows: one answers, the other is made anew beside it, or answered
until a moment ago and is folded on until every gateway has heard. Each has a projection of its own, where it stays:

    projection 0:  1 live ──────────────> 1 retired ──> let go           3 building ──> 3 live
    projection 1:           2 building ─> 2 live ──────────────────────────────────────────────> …

Slices of a store that does not answer this process are not wanted: one that does may fold them meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from threading import Event, Lock, Thread

import structlog

from twofold.followed import Followed
from twofold.kernel.backoff import Backoff
from twofold.kernel.builds import Build
from twofold.kernel.errors import Misconfigured
from twofold.kernel.rows import Generation
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.routed import RoutedViewStore

LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.5, 5.0
"""Between two looks for a store that is away, longer each time."""
FOLDED_ON_SECONDS = 30.0
"""How long one that was retired is folded on beside the live one of the same shape."""
AWAY_SECONDS_MAX = 15.0
"""How long a store may be out of reach before none of its slices is wanted; several times as long as a look at it may take."""


class FoldableSlices:
    """By name. `look` is called once before the room starts, `start` looks on until every store has answered."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self.projections = (followed.projection, followed.beside)
        self._folded: tuple[dict[str, Generation], dict[str, Generation]] = ({}, {})
        self._retired_at: dict[tuple[str, int], float] = {}
        self._answered_at: dict[str, float] = {}
        """By view, when its store told of it last."""
        self._lock = Lock()
        self.held: tuple[frozenset[SliceId], frozenset[SliceId]] = (frozenset(), frozenset())
        """What this process folds, by projection."""
        self._backoff = Backoff(LOOK_SECONDS_MIN, LOOK_SECONDS_MAX)
        self._stop = Event()
        self._thread = Thread(target=self._run, name="stores", daemon=True)

    def look(self) -> bool:
        """Whether all followed views are found. Raises Misconfigured."""
        found = self._followed.foldable()
        with self._lock:
            self._answered_at |= dict.fromkeys((generation.view for generation in found), time.monotonic())
            for generation in found:
                if all(generation.view not in folded for folded in self._folded):
                    self._folded[0][generation.view] = generation
        return len(found) == len(self._followed.views)

    def follow(self, builds: Sequence[Build]) -> None:
        """Fold what is to be folded of the views found so far, according to the builds there are now."""
        with self._lock:
            self._answered_at |= dict.fromkeys((build.generation.view for build in builds), time.monotonic())
        for view in self._followed.views:
            own = [one for one in builds if one.generation.view == view.name and one.shape == shape_of(view)]
            if not own or all(view.name not in folded for folded in self._folded):
                continue
            wanted = {one.generation.number: one for one in self._wanted(own)}
            with self._lock:
                for folded in self._folded:
                    if view.name in folded and folded[view.name].number not in wanted:
                        del folded[view.name]
                    elif view.name in folded:
                        folded[view.name] = wanted.pop(folded[view.name].number).generation
                for build in wanted.values():
                    free = next(number for number in (0, 1) if view.name not in self._folded[number])
                    self.projections[free].attach(view, build)
                    self._folded[free][view.name] = build.generation

    def folded(self) -> list[tuple[Generation, RoutedViewStore]]:
        """Every generation that is folded, and the projection it is attached to."""
        with self._lock:
            pairs = zip(self._folded, self.projections, strict=True)
            return [(generation, store) for folded, store in pairs for generation in folded.values()]

    def names(self) -> list[str]:
        """Those to take a share of."""
        since = time.monotonic() - AWAY_SECONDS_MAX
        near = [generation for generation, _ in self.folded() if self._answered_at[generation.view] > since]
        return [str(slice_id) for slice_id in sorted(slice_id for generation in near for slice_id in generation.slice_ids())]

    def hold(self, names: Iterable[str]) -> tuple[frozenset[SliceId], frozenset[SliceId]]:
        """The slices of these names, by projection."""
        held = frozenset(names)
        with self._lock:
            one, other = (
                frozenset(
                    slice_id for generation in folded.values() for slice_id in generation.slice_ids() if str(slice_id) in held
                )
                for folded in self._folded
            )
        self.held = one, other
        return self.held

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

    def _wanted(self, own: Sequence[Build]) -> list[Build]:
        """Of the builds of one shape those that are to be folded, two at most."""
        live = [one for one in own if one.generation.state == "live"]
        building = [one for one in own if one.generation.state == "building"]
        if not live:
            return list(building or own)[-1:]
        now, numbers = time.monotonic(), {(one.view, one.number) for one, _ in self.folded()}
        retired = []
        for one in own:
            name = one.generation.view, one.generation.number
            if one.generation.state == "retired" and name in numbers:
                if now - self._retired_at.setdefault(name, now) < FOLDED_ON_SECONDS:
                    retired.append(one)
            else:
                self._retired_at.pop(name, None)
        return [*live, *building, *retired][:2]

    def _run(self) -> None:
        log = structlog.get_logger()
        while not self._stop.is_set():
            try:
                if self.look():
                    return
                log.warning("a store of rows is away", again_in_seconds=self._backoff.failed())
            except Misconfigured as error:
                log.error("a store of rows is refused", error=str(error), again_in_seconds=self._backoff.failed())
            self._stop.wait(self._backoff.seconds)
