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
        self._delay = [RESTART_SECONDS] * count
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
        if dead is not None:
            if now - self._started[index] > SETTLED_SECONDS:
                self._delay[index] = RESTART_SECONDS
            if now - self._started[index] < self._delay[index]:
                return
            self._delay[index] = min(self._delay[index] * 2, RESTART_SECONDS_MAX)
            self._log.error("a child died and is started again", child=index, pid=dead.pid, status=dead.returncode)
        self._started[index] = now
        self._children[index] = subprocess.Popen(
            [sys.executable, "-P", "-m", "twofold", *self._arguments],
            stdin=subprocess.PIPE,
            env={**os.environ, CHILD: str(index)},
        )

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
