"""Rebuilds, in rooms that fold: how fast they may go, and whether what they made may answer.

building ──> a page from the head ──> verifying: a sample of its rows, and a fresh fold of the log ──> agree: swapped
                                                                                                  └─> differ: failed, dropped

Whoever holds a generation's first slice looks after it, so one process does; another goes on where it dies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import structlog

from twofold.deployment import Deployment
from twofold.foldable import FoldableSlices
from twofold.generation_watch import CAUGHT_UP_EVENTS, GenerationWatch, folding
from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.rows import Generation
from twofold.kernel.view import SliceId
from twofold.readmodels.projection.audit import verify
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.routed import RoutedViewStore

Throttle = Callable[[Mapping[tuple[str, int], float]], None]
"""Is told how many events a second may be folded into a generation, by view and number."""


@contextmanager
def looking_after_builds(deployment: Deployment, slices: FoldableSlices, throttle: Throttle) -> Iterator[None]:
    """Everything that becomes of builds in a room that folds."""
    with folding(deployment, slices), rebuilding(deployment, slices, throttle):
        yield


def rebuilding(deployment: Deployment, slices: FoldableSlices, throttle: Throttle) -> GenerationWatch:
    """In a thread of its own: verifying takes as long as reading the log does."""
    store, views = deployment.projection, {view.name: view for view in deployment.followed}

    def step(builds: Sequence[Build]) -> Collection[Generation]:
        live = {
            one.generation.view
            for one in builds
            if one.generation.state == "live" and one.shape == shape_of(views[one.generation.view])
        }
        beside = {
            one.generation.view: one for one in builds if one.generation.state == "building" and one.generation.view in live
        }
        running = {one.view: one for one in store.rebuilt(list(beside)) if not one.is_over} if beside else {}
        paces = {(one.view, one.generation): one.throttle for one in running.values() if one.throttle}
        throttle(paces)
        folded = {(one.view, one.number): rows for one, rows in slices.folded()}
        head = deployment.events.head()[0] if running else 0
        for rebuild in running.values():
            build, rows = beside[rebuild.view], folded.get((rebuild.view, rebuild.generation))
            is_mine = any(SliceId(rebuild.view, rebuild.generation, 0) in held for held in slices.held)
            if rows is not None and is_mine and head - CAUGHT_UP_EVENTS <= build.position <= head:
                end(rebuild, build, rows)
        return [generation for generation, _ in slices.folded()]

    def end(rebuild: Rebuild, build: Build, rows: RoutedViewStore) -> None:
        log = structlog.get_logger().bind(view=rebuild.view, generation=rebuild.generation)
        if not store.note_rebuild(msgspec.structs.replace(rebuild, state="verifying")):
            return
        found = verify(deployment.events, rows, views[rebuild.view], deployment.codec)
        if found.differences:
            store.note_rebuild(
                msgspec.structs.replace(rebuild, state="failed", differences=msgspec.to_builtins(found.differences))
            )
            log.error("a rebuilt view differs from its log and is dropped", differences=len(found.differences))
        elif not found.open and store.swap(build.generation, build.position):
            store.note_rebuild(msgspec.structs.replace(rebuild, state="swapped"))
            log.info("a view is rebuilt", checked=found.checked)

    return GenerationWatch(store, list(views), step)
