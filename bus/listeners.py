"""Who is called back for one kind of news. Thread-safe; news never raises into the one who sends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import structlog

from twofold.kernel.ports import Stop


class Listeners:
    """Callbacks in the order in which they were added. The tuple is replaced, never changed, so a call takes no lock."""

    def __init__(self) -> None:
        self._changing = Lock()
        self._callbacks: tuple[Callable[[Any], None], ...] = ()

    def add(self, callback: Callable[[Any], None]) -> Stop:
        """Call this from now on, once more if it was added before."""
        entry = partial(callback)
        with self._changing:
            self._callbacks = (*self._callbacks, entry)
        return partial(self._remove, entry)

    def call(self, news: Any) -> None:
        """One callback's bug is its own: it is loud in the log, and the others are called all the same."""
        for callback in self._callbacks:
            try:
                callback(news)
            except Exception as bug:
                structlog.get_logger().error("a listener failed", error=type(bug).__name__)

    def _remove(self, entry: Callable[[Any], None]) -> None:
        with self._changing:
            self._callbacks = tuple(callback for callback in self._callbacks if callback is not entry)


def stop_all(stops: list[Stop]) -> None:
    for stop in stops:
        stop()
