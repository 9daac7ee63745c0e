"""Rings and outcomes within one process: callbacks on the caller's own thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twofold.bus.listeners import Listeners, stop_all
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Stop
from twofold.kernel.rows import Progress


class LocalBell:
    """Port Bell."""

    def __init__(self) -> None:
        self._on_ring = Listeners()
        self._on_advanced = Listeners()

    def ring(self, position: int) -> None:
        self._on_ring.call(position)

    def advanced(self, progress: Sequence[Progress]) -> None:
        self._on_advanced.call(progress)

    def listen(
        self, on_ring: Callable[[int], None] | None = None, on_advanced: Callable[[Sequence[Progress]], None] | None = None
    ) -> Stop:
        stops = []
        if on_ring is not None:
            stops.append(self._on_ring.add(on_ring))
        if on_advanced is not None:
            stops.append(self._on_advanced.add(on_advanced))
        return partial(stop_all, stops)


class LocalOutcomes:
    """Port Outcomes."""

    def __init__(self) -> None:
        self._on_outcomes = Listeners()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._on_outcomes.call(outcomes)

    def listen(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> Stop:
        return self._on_outcomes.add(on_outcomes)
