"""Ends a process whose deciding comes to no end, so that its lanes go to another, which will be careful (docs/decisions/0012).
Embedded there is no other: the process begins anew.

A thread of Python's cannot be ended, so a thread that watches ends the whole process; and one that spins in C code, a regular
expression say, does not even let the watch run. For that there is a timer of the time the process computes, which ends it unless
the watch sets it anew every moment. Only time in which the process could run counts: one that was stopped, at a terminal or with
its whole machine, is late for no fault of its domain's. What is ended first writes to standard error where every thread was.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog

from twofold.workers import trial

LOOK_SECONDS = 1.0

Seconds = Callable[[], float]


@contextmanager
def ending_endless(deciding_seconds: Seconds, seconds_max: float | None = None) -> Iterator[None]:
    """During the block, end the process with status 1 when deciding takes longer, by SIGVTALRM when it lets nothing else run."""

    def end() -> None:
        structlog.get_logger(room="workers").error("deciding comes to no end, so this process ends")
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    with _watching(deciding_seconds, seconds_max or trial.DECIDE_SECONDS_MAX, end):
        yield


@contextmanager
def replacing_endless(deciding_seconds: Seconds, seconds_max: float | None = None) -> Iterator[None]:
    """During the block, put a new one in the place of this process when deciding takes longer: same command line, same terminal.
    One that lets nothing else run is ended by SIGVTALRM."""

    def begin_anew() -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)  # a new program inherits it
        structlog.get_logger(room="workers").error("deciding comes to no end, so this process begins anew")
        faulthandler.dump_traceback(all_threads=True)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    with _watching(deciding_seconds, seconds_max or trial.DECIDE_SECONDS_MAX, begin_anew):
        yield


@contextmanager
def _watching(deciding_seconds: Seconds, seconds_max: float, on_endless: Callable[[], None]) -> Iterator[None]:
    stop, look_seconds = Event(), min(LOOK_SECONDS, seconds_max / 4)

    def watch() -> None:
        running = RunningSeconds(deciding_seconds, look_seconds)
        while not stop.wait(look_seconds):
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds_max)
            if running.look() > seconds_max:
                on_endless()

    faulthandler.register(signal.SIGVTALRM, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds_max)
    thread = Thread(target=watch, name="deadline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        faulthandler.unregister(signal.SIGVTALRM)


class RunningSeconds:
    """Of the seconds that a command has been decided, those in which the process could run.

    Looked at every `look_seconds`: a look that comes later than twice that, by more than the process computed meanwhile,
    comes after a standstill.
    """

    def __init__(
        self, deciding_seconds: Seconds, look_seconds: float, now: Seconds = time.monotonic, computed: Seconds = time.process_time
    ) -> None:
        self._deciding_seconds, self._on_time = deciding_seconds, 2 * look_seconds
        self._now, self._computed = now, computed
        self._looked_at, self._had_computed, self._stood = now(), computed(), 0.0

    def look(self) -> float:
        now, computed, deciding = self._now(), self._computed(), self._deciding_seconds()
        since = now - self._looked_at
        stood = max(0.0, since - self._on_time - (computed - self._had_computed))
        self._stood = min(stood if deciding < since else self._stood + stood, deciding)
        self._looked_at, self._had_computed = now, computed
        return deciding - self._stood
