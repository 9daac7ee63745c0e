"""Calls to the outside are performed: part of the room `processes`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import structs

from twofold.bus.effects.dispatch import declare_effects, start_performers
from twofold.deployment import Deployment
from twofold.kernel.envelope import Envelope
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.effects import effect_counter, observe_breakers
from twofold.processes.performing import Performing
from twofold.settings import Settings, variable

STOP_SECONDS = 10.0


@contextmanager
def performing(deployment: Deployment, metrics: Metrics, send: Callable[[Sequence[Envelope]], None]) -> Iterator[None]:
    """Dramatiq's threads perform what waits in the queues of the domain's effects, until the block ends. `send` returns when what
    came of a call is durable in its lane, and raises Unavailable when it may not be."""
    domain = deployment.domain
    if not domain.effects:
        yield
        return
    count = effect_counter(metrics, domain.effects)
    performer = Performing(domain, deployment.codec, deployment.clock, environment_of(deployment.settings), send, count)
    observe_breakers(metrics, domain.effects, performer.is_resting)
    broker = deployment.effects
    declare_effects(broker, domain.effects, performer.perform, performer.admits)
    worker = start_performers(broker, deployment.settings.effect_threads)
    try:
        yield
    finally:
        performer.stop()
        worker.stop(timeout=int(STOP_SECONDS * 1000))


def environment_of(settings: Settings) -> Mapping[str, str]:
    """What effects are given: this process's environment, with every setting as it is here, also one that came from a file."""
    return dict(os.environ) | {
        variable(field): str(value) for field, value in structs.asdict(settings).items() if value is not None
    }
