"""What becomes of builds, in rooms that fold: how fast they may go, and whether what they made may answer.

of a shape that has no live one ──> a page from the head ──> swapped
beside a live one of its shape ──> a page from the head ──> verifying: a sample, and a fresh fold ──> agree: swapped
     (a rebuild)              └──> beside the log                                                └──> differ
                                          └──────────────────────────────────────────────────────> failed

Whoever holds a rebuild's first slice looks after it, so one process does; another goes on where it dies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from threading import Thread

import msgspec
import structlog

from twofold.deployment import Deployment
from twofold.foldable import FoldableSlices
from twofold.followed import Followed
from twofold.generation_watch import GenerationWatch
from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.errors import Unavailable
from twofold.kernel.rows import Generation
from twofold.monitoring.lag import diverged_views
from twofold.readmodels.projection.audit import verify
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.routed import RoutedViewStore

Throttle = Callable[[Mapping[tuple[str, int], float]], None]
"""Is told how many events a second may be folded into a generation, by view and number."""

Look = Callable[[Sequence[Build]], None]
"""Is shown the builds there are before they are folded."""

CAUGHT_UP_EVENTS = 1_000
"""A generation this near to the head takes over: one page of a projector, and tokens are waited for as ever."""
CLOSE_SECONDS_MAX = 5.0
"""How long a room that ends waits for what is being verified; who takes its slices over begins again."""


@contextmanager
def looking_after_builds(
    deployment: Deployment, followed: Followed, slices: FoldableSlices, throttle: Throttle, look: Look = lambda builds: None
) -> Iterator[None]:
    """Every second: fold what is to be folded, and let answer what may. One that was retired takes over again only when its
    version is migrated to again: then it is being built."""
    store, views = followed.projection, {view.name: view for view in followed.views}
    rebuilds = Rebuilds(deployment, store, slices)

    def step(builds: Sequence[Build]) -> Collection[Generation]:
        own = [build for build in builds if build.shape == shape_of(views[build.generation.view])]
        live = {build.generation.view for build in own if build.generation.state == "live"}
        building = {build.generation.view: build for build in own if build.generation.state == "building"}
        beside = {view: build for view, build in building.items() if view in live}
        running = [one for one in store.rebuilt(list(beside)) if not one.is_over] if beside else []
        throttle({(one.view, one.generation): one.throttle for one in running if one.throttle})
        look(builds)
        slices.follow(builds)
        head = deployment.events.head()[0] if building else 0
        for build in (build for view, build in building.items() if view not in live):
            if build.position >= near(builds, build, head) and store.swap(build.generation, build.position):
                log = structlog.get_logger()
                log.info("a view is answered anew", view=build.generation.view, generation=build.generation.number)
        rebuilds.look_after([(one, beside[one.view]) for one in running])
        return [generation for generation, _ in slices.folded()]

    with closing(rebuilds), GenerationWatch(store, list(views), step):
        yield


def near(builds: Sequence[Build], build: Build, head: int) -> int:
    """From which position on a build may answer: a page from the head, or from where the one stands that answers now."""
    live = [one.position for one in builds if one.generation.view == build.generation.view and one.generation.state == "live"]
    return min([head, *live]) - CAUGHT_UP_EVENTS


class Rebuilds:
    """Ends those that this process looks after, in a thread of its own: verifying takes as long as reading the log does."""

    def __init__(self, deployment: Deployment, store: RoutedViewStore, slices: FoldableSlices) -> None:
        self._deployment = deployment
        self._store = store
        self._slices = slices
        self._thread: Thread | None = None
        self._trouble: dict[str, str] = {}

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_SECONDS_MAX)

    def look_after(self, running: Sequence[tuple[Rebuild, Build]]) -> None:
        """Unless some are being looked at already."""
        mine = {slice_id[:2] for held in self._slices.held for slice_id in held if slice_id.slice == 0}
        due = [(one, build) for one, build in running if (one.view, one.generation) in mine]
        if due and (self._thread is None or not self._thread.is_alive()):
            self._thread = Thread(target=self._end_all, args=(due,), name="rebuilds", daemon=True)
            self._thread.start()

    def _end_all(self, due: Sequence[tuple[Rebuild, Build]]) -> None:
        """What goes wrong with one is told once, and keeps no other from its end."""
        folded = {(one.view, one.number): rows for one, rows in self._slices.folded()}
        for rebuild, build in due:
            trouble = ""
            try:
                if (rows := folded.get((rebuild.view, rebuild.generation))) is not None:
                    self._end(rebuild, build, rows)
            except Exception as error:
                trouble = type(error).__name__
                if trouble != self._trouble.get(rebuild.view):
                    bug = None if isinstance(error, Unavailable) else error
                    log = structlog.get_logger()
                    log.warning("a rebuild cannot be ended", view=rebuild.view, error=str(error), exc_info=bug)
            self._trouble[rebuild.view] = trouble

    def _end(self, rebuild: Rebuild, build: Build, rows: RoutedViewStore) -> None:
        log = structlog.get_logger().bind(view=rebuild.view, generation=rebuild.generation)
        events, note = self._deployment.events, self._store.note_rebuild
        if diverged_views(events, rows.marks(rebuild.view)):
            if note(msgspec.structs.replace(rebuild, state="failed")):
                log.error("the log has lost events that a rebuild has folded", fix=f"twofold rebuild {rebuild.view}")
            return
        if build.position < self._near(build) or not note(msgspec.structs.replace(rebuild, state="verifying")):
            return
        found = verify(events, rows, self._deployment.domain.views[rebuild.view], self._deployment.codec)
        if found.differences:
            told = msgspec.to_builtins(found.differences)
            if note(msgspec.structs.replace(rebuild, state="failed", differences=told)):
                log.error("a rebuilt view differs from its log and is dropped", differences=len(found.differences))
        elif not found.open and self._store.swap(build.generation, max(build.position, self._near(build))):
            note(msgspec.structs.replace(rebuild, state="swapped"))
            log.info("a view is rebuilt", checked=found.checked)

    def _near(self, build: Build) -> int:
        """As it is now: verifying took its time."""
        return near(self._store.builds([build.generation.view]), build, self._deployment.events.head()[0])
