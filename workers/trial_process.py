"""One process in which commands are tried, as the worker that has started it sees it: lines in, lines out, and how it ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO

START_SECONDS_MAX = 30.0
LAST_WORDS_BYTES_MAX = 4_000
READY = b"ready"


class TrialProcess:
    """One that decides; to be ended by whoever has it."""

    def __init__(self, module: str) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                start_new_session=True,
            )
        except BaseException:
            self._words.close()
            raise
        assert self._process.stdout is not None
        self.line = Lines(self._process.stdout).next
        self.pid = self._process.pid

    def asked(self, question: bytes) -> bool:
        """Whether it has begun with this."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(question + b"\n")
            self._process.stdin.flush()
        return self.line(START_SECONDS_MAX) == READY

    def ending(self, took_seconds: float) -> str:
        """End it, though it has not answered; how it ended. One that hung up is about to end by itself, and its status tells."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        words = self.end()
        return f"{_how(self._process.returncode)} after {took_seconds:.2f} s\n{words}"

    def end(self) -> str:
        """Its last words."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        with self._words as words:
            words.seek(max(0, words.seek(0, os.SEEK_END) - LAST_WORDS_BYTES_MAX))
            return words.read().decode(errors="replace")


class Lines:
    """Lines of a pipe, each waited for no longer than asked."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._read = b""

    def next(self, seconds_max: float) -> bytes | None:
        """None at the end, and when it takes too long."""
        deadline = time.monotonic() + seconds_max
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            found = os.read(self._descriptor, 1 << 20)
            if not found:
                return None
            self._read += found
        line, _, self._read = self._read.partition(b"\n")
        return line


def _how(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
