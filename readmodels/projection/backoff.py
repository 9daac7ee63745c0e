"""How long to wait after a neighbour did not answer: longer each time, up to a bound."""

from __future__ import annotations

FIRST_SECONDS = 0.1
MOST_SECONDS = 2.0


class Backoff:
    """0 while all is well."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def failed(self) -> None:
        self.seconds = min(MOST_SECONDS, self.seconds * 2 or FIRST_SECONDS)

    def succeeded(self) -> None:
        self.seconds = 0.0
