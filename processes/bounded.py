"""A deadline that holds for code which cannot be stopped: it runs in a thread that is left behind when its time is over.

An exception that is thrown into a thread does not end it where it waits, and may break it where it does not
(that is how Dramatiq limits time); so nobody is interrupted, he is only not waited for any more.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Lock, Thread, local
from typing import Any, TypeVar

from twofold.kernel.errors import BUGS

T = TypeVar("T")


class NoAnswer(Exception):
    """The time was over."""


class BoundedThreads:
    """Each thread that calls has one that runs for it, until that is left behind. `left_behind` counts these, by name, until they
    come to an end after all. Thread-safe."""

    def __init__(self) -> None:
        self._own = local()
        self._lock = Lock()
        self._left_behind: Counter[str] = Counter()

    def run(self, name: str, function: Callable[[], T], seconds: float) -> T:
        """What the function returns or raises. Raises NoAnswer after so many seconds."""
        runner: _Runner | None = getattr(self._own, "runner", None)
        if runner is None:
            runner = self._own.runner = _Runner()
        answer: Future[T] = Future()
        runner.work.put((function, answer))
        wait([answer], seconds)
        if answer.done():
            return answer.result()
        self._own.runner = None
        runner.work.put(None)
        self._count(name, 1)
        answer.add_done_callback(lambda _: self._count(name, -1))
        raise NoAnswer(f"no answer within {seconds:g} s")

    def left_behind(self, name: str) -> int:
        with self._lock:
            return self._left_behind[name]

    def _count(self, name: str, change: int) -> None:
        with self._lock:
            self._left_behind[name] += change


class _Runner:
    """Ends with whoever has it."""

    def __init__(self) -> None:
        self.work: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        weakref.finalize(self, self.work.put, None)
        Thread(target=_run, args=(self.work,), name="bounded", daemon=True).start()


def _run(work: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    while (given := work.get()) is not None:
        function, answer = given
        try:
            answer.set_result(function())
        except BUGS as error:
            answer.set_exception(error)
        del given, function, answer
