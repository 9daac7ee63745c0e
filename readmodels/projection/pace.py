"""How fast a generation may be built: so many events a second, counted from where it stood when it was first looked at."""

from __future__ import annotations


class Pace:
    """Used by one thread."""

    def __init__(self, events_per_second: float) -> None:
        self.events_per_second = events_per_second
        self._from: tuple[int, float] | None = None

    def is_due(self, position: int, seconds: float) -> bool:
        """Whether what stands here may go on now; a page further it rests again."""
        if self._from is None:
            self._from = position, seconds
        begun, since = self._from
        return position <= begun + self.events_per_second * (seconds - since)
