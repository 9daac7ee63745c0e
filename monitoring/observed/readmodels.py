"""What projectors do, counted: events folded, and how long they took to be visible."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar, cast

from twofold.kernel.ports import Projection
from twofold.kernel.rows import Advance
from twofold.kernel.view import SliceId
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed import replaced

PortT = TypeVar("PortT", bound=Projection)


def observe_projection(port: PortT, metrics: Metrics) -> PortT:
    def commit(advances: Sequence[Advance]) -> set[SliceId]:
        moved = port.commit(advances)
        now = time.time()
        for advance in advances:
            if advance.slice in moved and advance.recorded_at:
                visibility = metrics.visibility.labels(advance.slice.view)
                metrics.view_events.labels(advance.slice.view).inc(len(advance.recorded_at))
                for recorded_at in advance.recorded_at:
                    visibility.observe(max(0.0, now - recorded_at.timestamp()))
        return moved

    return cast(PortT, replaced(port, commit=commit))
