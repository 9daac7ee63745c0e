"""Ends a process whose deciding comes to no end, so that its lanes go to another, which will be careful (docs/decisions/0012).
Embedded there is no other: the process begins anew.

A thread of Python's cannot be ended, and one that spins in C code, a regular expression say, does not even let others run. So the
interpreter's own timer, which needs no lock, is set to end the process, and a thread that still runs sets it anew every moment,
as long as no command is overdue. What it ends, it first writes to standard error: where every thread was.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog

from twofold.workers import trial

LOOK_SECONDS = 1.0


@contextmanager
def ending_endless(deciding_seconds: Callable[[], float], seconds_max: float | None = None) -> Iterator[None]:
    """During the block, end the process with status 1 when deciding takes longer, or no thread of Python has run for so long."""
    seconds_max = seconds_max or trial.DECIDE_SECONDS_MAX
    stop = Event()

    def watch() -> None:
        while True:
            left = seconds_max - deciding_seconds()
            if left <= 0:
                structlog.get_logger(room="workers").error("deciding comes to no end, so this process ends", seconds=seconds_max)
            faulthandler.dump_traceback_later(max(left, 0.0) + min(LOOK_SECONDS, seconds_max), exit=True)
            if left <= 0 or stop.wait(min(LOOK_SECONDS, seconds_max / 2)):
                return

    thread = Thread(target=watch, name="deadline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def replacing_endless(deciding_seconds: Callable[[], float], seconds_max: float | None = None) -> Iterator[None]:
    """During the block, put a new one in the place of this process when deciding takes longer: same command line, same terminal.

    Where no thread of Python runs for so long, there is none to do it: then the process ends, by a timer of the time it computes
    (one that was stopped at a terminal has not computed), and says where it was.
    """
    seconds_max = seconds_max or trial.DECIDE_SECONDS_MAX
    stop = Event()

    def watch() -> None:
        while not stop.wait(min(LOOK_SECONDS, seconds_max / 2)):
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds_max)
            if deciding_seconds() > seconds_max:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
                structlog.get_logger(room="workers").error("deciding comes to no end, so this process begins anew")
                sys.stdout.flush()
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

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
