"""Keeps a process on the right generations of its views while it runs, and says which of them it needs.

every second: what builds are there? ──> gateway, monitoring: answer from the one that is to answer now
                                     ──> readmodels: let one that has caught up answer (rebuilding.py)
now and then: these are needed here ──> so they are not dropped
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from threading import Event, Thread

import structlog

from twofold.deployment import Deployment
from twofold.kernel.builds import Build
from twofold.kernel.errors import Misconfigured, Unavailable
from twofold.kernel.rows import Generation
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.answering import Answering
from twofold.readmodels.stores.routed import RoutedViewStore

LOOK_SECONDS = 1.0
USE_SECONDS, USES_PER_TERM = 60.0, 4

Step = Callable[[Sequence[Build]], Collection[Generation]]
"""Does what is due, and returns what is needed here."""


class GenerationWatch:
    """Looks for as long as the block lasts. What fails is told once and tried again."""

    def __init__(self, store: RoutedViewStore, views: Sequence[str], step: Step) -> None:
        self._store = store
        self._views = views
        self._step = step
        self._member = secrets.token_hex(8)
        self._told_at = float("-inf")
        self._trouble = ""
        self._stop = Event()
        self._thread = Thread(target=self._run, name="generations", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=LOOK_SECONDS * 5)

    def look(self) -> None:
        needed = self._step(self._store.builds(self._views))
        now = time.monotonic()
        if now - self._told_at >= USE_SECONDS / USES_PER_TERM:
            self._store.use(self._member, list(needed), USE_SECONDS)
            self._told_at = now

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
                self._trouble = ""
            except Exception as error:
                trouble = type(error).__name__
                if trouble != self._trouble:
                    structlog.get_logger().warning("generations not looked at", error=str(error))
                self._trouble = trouble


def answering(deployment: Deployment) -> GenerationWatch:
    """For rooms that answer from the rows."""
    rows, views, chooser = deployment.rows, deployment.domain.views, Answering()

    def step(builds: Sequence[Build]) -> Collection[Generation]:
        needed = []
        for name, view in views.items():
            mine = [build for build in builds if build.generation.view == name]
            chosen = chooser.choose(view, mine)
            own = [build for build in mine if build.shape == shape_of(view)]
            is_live = any(build.generation.state == "live" for build in own)
            needed += [one.generation for one in own if one == chosen or not is_live or one.generation.state != "retired"]
            needed += [chosen.generation] if chosen is not None and chosen not in own else []
            try:
                if chosen is not None and rows.generation(name) != chosen.generation:
                    rows.attach(view, chosen)
            except (Misconfigured, Unavailable):
                continue  # it cannot be read: what answers goes on
        return needed

    return GenerationWatch(rows, list(views), step)
