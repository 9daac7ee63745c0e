"""The most each view was behind lately: one that catches up within milliseconds still shows that it moved.

Hints only, for drawing; what is answered elsewhere is read from the stores.
"""

from __future__ import annotations

from collections.abc import Mapping

SPAN_SECONDS = 0.5
"""As long as the time between two looks of the console."""


class LagPeaks:
    """Peaks of the running span and of the one before, so that a look at any moment sees a whole span."""

    def __init__(self) -> None:
        self._span = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def note(self, view: str, lag_events: int, seconds: float) -> None:
        """`seconds` is the loop's time."""
        self._turn(seconds)
        self._now[view] = max(lag_events, self._now.get(view, 0))

    def peaks(self, seconds: float) -> Mapping[str, int]:
        """By view; those that were never behind may be missing."""
        self._turn(seconds)
        return {view: max(self._now.get(view, 0), self._before.get(view, 0)) for view in {*self._now, *self._before}}

    def _turn(self, seconds: float) -> None:
        span = int(seconds / SPAN_SECONDS)
        if span != self._span:
            self._before = self._now if span == self._span + 1 else {}
            self._now, self._span = {}, span
