"""Rooms that fold: `readmodels`, into rows that people look at, and `processes`, into instances, sending what these ask for.

what is to be folded ──> Projectors: a thread for each store and projection ──> rows ──> looking_after_builds: which answer
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from math import inf
from threading import Event, Thread
from typing import NamedTuple

from twofold.deployment import Deployment
from twofold.eventstore.identity import begins_of
from twofold.foldable import FoldableSlices
from twofold.followed import Followed, of_processes, of_readmodels
from twofold.kernel.builds import Build
from twofold.kernel.instances import VIEW_PREFIX
from twofold.kernel.ports import Projection
from twofold.kernel.view import AnyView
from twofold.membership import member_of
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.readmodels import observe_projection
from twofold.performing import performing
from twofold.places import log_url
from twofold.processes.reactions import Reactions
from twofold.processes.sending import Sender
from twofold.processes.timers import Timers
from twofold.readmodels.projection.projector import Projectors
from twofold.rebuilding import Look, looking_after_builds
from twofold.subscriptions.log_cache import LogCache, log_of

END_SECONDS_MAX = 10.0


class Fold(NamedTuple):
    """How one projection is folded: through what its commits go, and the views, those together that are committed together."""

    through: Callable[[Projection], Projection]
    views: Sequence[Sequence[AnyView]]


@contextmanager
def projecting(deployment: Deployment, metrics: Metrics, log: LogCache | None = None) -> Iterator[None]:
    """Threads fold the slices of read models that this process holds; `log` is what they follow, where others follow it, too."""
    followed = of_readmodels(deployment)
    slices = FoldableSlices(followed)
    plain = Fold(lambda projection: projection, followed.by_store)
    log = log or log_of(deployment.events, deployment.codec, followed.views)
    with _folding(deployment, metrics, "readmodels", log, followed, slices, [plain] * len(slices.projections)):
        yield


@contextmanager
def processing(deployment: Deployment, metrics: Metrics, log: LogCache | None = None) -> Iterator[None]:
    """Threads fold the instances that this process holds, send what they ask for, and fire their timers. Nothing happens in a
    domain without processes."""
    if not deployment.domain.processes:
        yield
        return
    followed = of_processes(deployment)
    slices = FoldableSlices(followed)
    sent = SentThrough(begins_of(log_url(deployment.settings)))
    sent.look(followed.projection.builds([view.name for view in followed.views]))
    with Sender(deployment.new_command_queue(inf)) as sender:

        def sending() -> Fold:
            calls = deployment.effects if deployment.domain.effects else None
            reactions = Reactions(deployment.domain, deployment.codec, deployment.clock, sender.send, calls, sent.through)
            return Fold(reactions.sent_by, [list(reactions.views.values())])

        folds = [sending() for _ in slices.projections]
        timers = Timers(deployment.rows, deployment.clock, sender.send, lambda: _first_held(slices))
        log = log or log_of(deployment.events, deployment.codec, followed.views)
        folding = _folding(deployment, metrics, "processes", log, followed, slices, folds, sent.look)
        with performing(deployment, metrics, sender.send), folding, _running(timers.run, "timers"):
            yield


class SentThrough:
    """Up to which position nothing is to be sent of what a generation of instances is folded from: before that the process had
    not been deployed, or the generation that answers has sent it."""

    def __init__(self, begins: Mapping[str, int]) -> None:
        self._begins = {f"{VIEW_PREFIX}{process}": position for process, position in begins.items()}
        self._live: Mapping[str, Build] = {}

    def look(self, builds: Sequence[Build]) -> None:
        """These are the builds there are now. Where one stood a moment ago it has sent, too."""
        self._live = {build.generation.view: build for build in builds if build.generation.state == "live"}

    def through(self, view: str, number: int) -> int:
        begins, live = self._begins.get(view, 0), self._live.get(view)
        return begins if live is None or live.generation.number == number else max(begins, live.position)


@contextmanager
def _folding(
    deployment: Deployment,
    metrics: Metrics,
    room: str,
    log: LogCache,
    followed: Followed,
    slices: FoldableSlices,
    folds: Sequence[Fold],
    look: Look = lambda builds: None,
) -> Iterator[None]:
    """One fold for each projection of the slices."""
    slices.look()
    names = [view.name for view in followed.views]
    pairs = zip(folds, slices.projections, strict=True)
    stores = [(observe_projection(fold.through(one), metrics, names), fold.views) for fold, one in pairs]
    both = Projectors(log, stores, deployment.bell)
    builds = looking_after_builds(deployment, followed, slices, both.throttle, look)
    with member_of(deployment, room, slices.names, lambda held: both.hold(slices.hold(held))), closing(slices), builds:
        slices.start()
        with _running(both.run, "projector"):
            yield


@contextmanager
def _running(run: Callable[[Event], None], name: str) -> Iterator[None]:
    """In a thread of its own, until the block ends."""
    stop = Event()
    thread = Thread(target=run, args=(stop,), name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=END_SECONDS_MAX)


def _first_held(slices: FoldableSlices) -> list[str]:
    """The processes whose first slice is held here."""
    first = {slice_id.view for held in slices.held for slice_id in held if slice_id.slice == 0}
    return sorted(view.removeprefix(VIEW_PREFIX) for view in first)
