"""The slices that a projector may fold: found at once where the stores answer, and later where one is away as the room starts."""

from __future__ import annotations

from threading import Event, Thread

import structlog

from twofold.deployment import Deployment
from twofold.kernel.backoff import Backoff
from twofold.kernel.errors import Misconfigured
from twofold.kernel.view import SliceId

LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.5, 5.0
"""Between two looks for a store that is away, longer each time."""


class FoldableSlices:
    """By name. `look` is called once before the room starts, `start` looks on until every store has answered."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.by_name: dict[str, SliceId] = {}
        """Replaced, never changed: other threads read it."""
        self._backoff = Backoff(LOOK_SECONDS_MIN, LOOK_SECONDS_MAX)
        self._stop = Event()
        self._thread = Thread(target=self._run, name="stores", daemon=True)

    def look(self) -> bool:
        """Whether all followed views are found. Raises Misconfigured."""
        found = self._deployment.foldable()
        self.by_name = {str(slice_id): slice_id for generation in found for slice_id in generation.slice_ids()}
        return len(found) == len(self._deployment.followed)

    def names(self) -> list[str]:
        return sorted(self.by_name)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

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
