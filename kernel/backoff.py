"""How long to wait before something is tried again: longer each time, up to a bound. The one growth rule of the house."""

from __future__ import annotations


class Backoff:
    """`seconds` is 0 while all is well; each failure doubles it, from `first_seconds` up to `most_seconds`."""

    def __init__(self, first_seconds: float, most_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self.seconds = 0.0

    def failed(self) -> float:
        """One failure more. The seconds to wait now."""
        self.seconds = min(self._most_seconds, self.seconds * 2 or self._first_seconds)
        return self.seconds

    def succeeded(self) -> None:
        self.seconds = 0.0
