"""Folded states of recently used streams, so that a busy aggregate is not folded from its beginning for every command.

An entry is only ever a starting point: before deciding, the executor reads what came after its last event, so a state that
another worker has moved on is brought up to date rather than trusted. And it is read *after that event*: when the log does not
hold it any more (a failover lost the tail, a backup was restored), the state is dropped and the stream folded anew.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

from twofold.kernel.log import LastEvent

STATES_MAX = 4_096
BYTES_MAX = 64 * 1024 * 1024


class Folded(NamedTuple):
    """A stream's state at a version. `size_bytes` is the JSON its events came from: a measure of what the state weighs. `last` is
    the event it stands on; None when there is none, or when it is not committed yet."""

    version: int
    state: Any
    size_bytes: int
    last: LastEvent | None = None


class States:
    """Least recently used first out; bounded in number and in bytes of events. Thread-safe."""

    def __init__(self, states_max: int = STATES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._states_max = states_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = Lock()
        self._folded: OrderedDict[str, Folded] = OrderedDict()

    def get(self, stream: str) -> Folded | None:
        with self._lock:
            folded = self._folded.get(stream)
            if folded is not None:
                self._folded.move_to_end(stream)
            return folded

    def put(self, stream: str, folded: Folded) -> None:
        with self._lock:
            self._forget(stream)
            self._folded[stream] = folded
            self._bytes += folded.size_bytes
            while len(self._folded) > self._states_max or self._bytes > self._bytes_max:
                self._forget(next(iter(self._folded)))

    def drop(self, stream: str) -> None:
        with self._lock:
            self._forget(stream)

    def __len__(self) -> int:
        return len(self._folded)

    def _forget(self, stream: str) -> None:
        folded = self._folded.pop(stream, None)
        if folded is not None:
            self._bytes -= folded.size_bytes
