"""What projectors do, counted: events folded, and how long they took to be visible."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance, Drain
from twofold.kernel.view import SliceId
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed import replaced

PortT = TypeVar("PortT", bound=Projection)


def observe_projection(port: PortT, metrics: Metrics, views: Iterable[str]) -> PortT:
    """`views` are all that may be folded."""
    for view in views:
        metrics.view_events.labels(view)
        metrics.visibility.labels(view)

    def commit(advances: Sequence[Advance]) -> set[SliceId]:
        moved = port.commit(advances)
        now = time.time()
        for advance in advances:
            if advance.slice in moved and advance.recorded_at:
                count(advance, now)
        return moved

    def drain(line: Drain) -> bool:
        is_applied = port.drain(line)
        if is_applied and line.recorded_at:
            count(line, time.time())
        return is_applied

    def count(folded: Advance | Drain, now: float) -> None:
        visibility = metrics.visibility.labels(folded.slice.view)
        metrics.view_events.labels(folded.slice.view).inc(len(folded.recorded_at))
        for recorded_at in folded.recorded_at:
            visibility.observe(max(0.0, now - recorded_at.timestamp()))

    return cast(PortT, replaced(port, commit=commit, drain=drain))
