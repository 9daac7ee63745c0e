"""Whether it is worth asking somebody outside who has not answered lately.

    closed ── so many calls in a row fail ──> resting ── its time is over ──> one try ── succeeds ──> closed
                                                 ^                               └── fails ──> resting, for longer

What rests is not asked: calls wait in their queue, and use up none of their tries. It takes several calls to say that somebody is
not there: one that fails again and again may have itself to blame, and must not keep the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from twofold.kernel.backoff import Backoff

FAILED_CALLS_MAX = 5
REST_SECONDS, REST_SECONDS_MAX = 1.0, 8.0
"""Short, since a try that fails may be a call of that kind, too: with nothing but those left in the queue, each has to wait for
its turn."""


class Breaker:
    """For one effect. Thread-safe; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failed: set[str] = set()
        """Calls that failed since one succeeded; of those that rest, enough."""
        self._backoff = Backoff(REST_SECONDS, REST_SECONDS_MAX)
        self._rests_until: float | None = None
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """From its first rest on until a try has succeeded."""
        return self._rests_until is not None

    def admits(self) -> bool:
        """Whether to ask now. True for one caller only when a rest is over: tell what came of it."""
        with self._lock:
            if self._rests_until is None:
                return True
            if self._is_trying or self._clock() < self._rests_until:
                return False
            self._is_trying = True
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failed.clear()
            self._rests_until = None
            self._is_trying = False
            self._backoff.succeeded()

    def failed(self, call_id: str) -> bool:
        """True when it rests from now on, and did not before. What was asked before the rest and fails in it says nothing."""
        with self._lock:
            was_open = self.is_open
            if not was_open:
                self._failed.add(call_id)
            if self._is_trying or (not was_open and len(self._failed) >= FAILED_CALLS_MAX):
                self._is_trying = False
                self._rests_until = self._clock() + self._backoff.failed()
            return self.is_open and not was_open

    def not_asked(self) -> None:
        """Whoever was admitted did not ask: it is the next one's turn."""
        with self._lock:
            self._is_trying = False
