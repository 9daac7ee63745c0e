"""How much is tried at once: less after it failed, for it may have been too heavy for a time-out; more again when it works."""

from __future__ import annotations

PATIENCE = 64
"""Portions that succeed before one as large as the last that failed is tried again."""


class Portion:
    """`now` begins at `most`. What fails even at one fails for another reason: after that it grows again freely."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = most
        self._failed: int | None = None
        self._succeeded = 0

    def failed(self, tried: int) -> None:
        """So much did not succeed: half of it next time, down to one."""
        tried = min(tried, self.now)
        self._failed = tried if tried > 1 else None
        self._succeeded = 0
        self.now = max(1, tried // 2)

    def succeeded(self) -> None:
        """As much as `now` succeeded. Need not be told while `now` is `most`."""
        self._succeeded += 1
        if self._succeeded >= PATIENCE:
            self._failed, self._succeeded = None, 0
        if self._failed is None or self.now * 2 < self._failed:
            self.now = min(self.most, self.now * 2)
