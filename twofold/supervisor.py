"""Several processes of one room: start them, restart the dead ones, drain them all on SIGTERM or Ctrl-C.

A child whose supervisor dies sees the end of its standard input and drains by itself, so nothing is ever left behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from threading import Event, Thread

import structlog

from twofold.kernel.backoff import Backoff

RESTART_SECONDS = 0.5
RESTART_SECONDS_MAX = 10.0
SETTLED_SECONDS = 30.0
"""A child that lived this long had started well: its next restart is prompt again."""
DRAIN_SECONDS = 20.0
CHILD = "_TWOFOLD_CHILD"


class Supervisor:
    """Runs `count` copies of `python -m twofold ARGUMENTS`."""

    def __init__(self, arguments: Sequence[str], count: int) -> None:
        self._arguments = arguments
        self._children: list[subprocess.Popen[bytes] | None] = [None] * count
        self._started = [0.0] * count
        self._backoffs = [Backoff(RESTART_SECONDS, RESTART_SECONDS_MAX) for _ in range(count)]
        self._start_at = [0.0] * count
        self._stopping = Event()
        self._log = structlog.get_logger(room="supervisor")

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        while not self._stopping.is_set():
            for index, child in enumerate(self._children):
                if child is None or child.poll() is not None:
                    self._start(index, child)
            self._stopping.wait(0.2)
        return self._drain()

    def _start(self, index: int, dead: subprocess.Popen[bytes] | None) -> None:
        now = time.monotonic()
        if dead is not None and not self._is_due(index, dead, now):
            return
        self._started[index] = now
        self._children[index] = subprocess.Popen(
            [sys.executable, "-P", "-m", "twofold", *self._arguments],
            stdin=subprocess.PIPE,
            env={**os.environ, CHILD: str(index)},
        )

    def _is_due(self, index: int, dead: subprocess.Popen[bytes], now: float) -> bool:
        """Whether a dead child's pause, counted from its start, is over; its death is noted when it is first seen."""
        backoff = self._backoffs[index]
        if self._start_at[index] <= self._started[index]:
            if now - self._started[index] > SETTLED_SECONDS:
                backoff.succeeded()
            self._start_at[index] = self._started[index] + backoff.failed()
            self._log.error("a child died and is started again", child=index, pid=dead.pid, status=dead.returncode)
        return now >= self._start_at[index]

    def _drain(self) -> int:
        alive = [child for child in self._children if child is not None and child.poll() is None]
        for child in alive:
            child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        for child in alive:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.error("a child did not drain in time and is killed", pid=child.pid)
                child.kill()
                child.wait()
        return 0


def end_with_supervisor() -> None:
    """In a child: turn the supervisor's death into a SIGTERM to ourselves."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="supervisor-watch", daemon=True).start()
