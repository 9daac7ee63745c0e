"""Time that passes when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ManualClock:
    """Port Clock. It stands still until it is moved; `seconds` is for what asks for a running count, as time.monotonic is."""

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._now = start

    def now(self) -> datetime:
        return self._now

    def seconds(self) -> float:
        """Seconds since the start."""
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> None:
        """Raises ValueError for going back: nobody's clock does."""
        if seconds < 0:
            raise ValueError(f"{seconds} seconds would be back in time")
        self._now += timedelta(seconds=seconds)
