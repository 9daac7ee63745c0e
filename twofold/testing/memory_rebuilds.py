"""Which builds of rows there are in memory, and rebuilds of them."""

from __future__ import annotations

from collections.abc import Collection
from threading import RLock

import msgspec

from twofold.kernel.builds import Build, Rebuild, rebuild_as_it_stands
from twofold.kernel.rows import Generation, GenerationState, Row
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.shape import shape_of


class Kept(msgspec.Struct):
    """One generation of a view's rows."""

    view: AnyView
    generation: Generation
    shape: str
    positions: dict[SliceId, int]
    rows: dict[str, Row]
    marks: dict[SliceId, str] = msgspec.field(default_factory=dict)


class MemoryRebuilds:
    """A part of MemoryViewStore."""

    def __init__(self, owner: MemoryRebuilds | None) -> None:
        self._lock: RLock = owner._lock if owner else RLock()
        self.kept: dict[str, list[Kept]] = owner.kept if owner else {}
        self._rebuilds: dict[str, Rebuild] = owner._rebuilds if owner else {}

    def builds(self, views: Collection[str]) -> list[Build]:
        with self._lock:
            kept = [one for view in sorted(views) for one in self.kept.get(view, []) if one.generation.state != "dropped"]
            return [Build(one.generation, one.shape, min(one.positions.values())) for one in kept]

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        with self._lock:
            kept = self.kept[view.name]
            live = next((one for one in kept if one.generation.state == "live" and one.shape == shape_of(view)), None)
            if live is None or any(one.generation.state == "building" for one in kept):
                return None
            if again is None:
                generation = Generation(view.name, len(kept) + 1, live.generation.slices, "building")
                kept.append(Kept(view, generation, live.shape, dict.fromkeys(generation.slice_ids(), 0), {}))
            mine = next((one for one in kept if one.generation.number == (again or len(kept))), None)
            if mine is None or mine.shape != live.shape or mine.generation.state not in ("building", "retired"):
                return None
            mine.generation = msgspec.structs.replace(mine.generation, state="building")
            begun_from = min(mine.positions.values())
            number, before = mine.generation.number, live.generation.number
            self._rebuilds[view.name] = Rebuild(view.name, number, before, "building", throttle, begun_at, begun_from)
            return self._rebuilds[view.name]

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        found = [rebuild_as_it_stands(self._rebuilds.get(view), self.builds([view])) for view in sorted(views)]
        return [one for one in found if one is not None]

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        with self._lock:
            last = next(iter(self.rebuilt([rebuild.view])), None)
            if last is None or last.generation != rebuild.generation or (last.is_over and last.state != rebuild.state):
                return False
            if rebuild.state in ("cancelled", "failed"):
                [mine] = [one for one in self.kept[rebuild.view] if one.generation.number == rebuild.generation]
                mine.generation = msgspec.structs.replace(
                    mine.generation, state="retired" if rebuild.is_going_back else "dropped"
                )
            self._rebuilds[rebuild.view] = rebuild
            return True

    def _kept(self, generation: Generation) -> Kept:
        return next(one for one in self.kept[generation.view] if one.generation.number == generation.number)

    def _set_state(self, kept: Kept, state: GenerationState) -> None:
        """Whichever was in this state is retired."""
        for one in self.kept[kept.generation.view]:
            if one.generation.state == state:
                one.generation = msgspec.structs.replace(one.generation, state="retired")
        kept.generation = msgspec.structs.replace(kept.generation, state=state)
