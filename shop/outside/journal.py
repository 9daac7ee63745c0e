"""Lines in a file that several processes write: each reads on before it looks, and holds the others off while it does.

    with journal.turn():  lock ── read on ──> look ── append ──> unlock

A line is written whole or, by a process that is killed, not to its end: the next one cuts that off. It outlives every process,
not the machine's power.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock


class Journal:
    """Thread-safe. `on_line` is given every line, once, in order, without its end."""

    def __init__(self, path: Path, on_line: Callable[[bytes], None]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._on_line = on_line
        self._lock = Lock()
        self._read = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Every line that anybody wrote has been given to `on_line`, and nobody else writes for the block."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._read_on()
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, line: bytes) -> None:
        """In one's turn. It is given to `on_line`, too."""
        os.pwrite(self._file, line + b"\n", self._read)
        self._read += len(line) + 1
        self._on_line(line)

    def close(self) -> None:
        os.close(self._file)

    def _read_on(self) -> None:
        size = os.fstat(self._file).st_size
        if size == self._read:
            return
        whole = os.pread(self._file, size - self._read, self._read).rpartition(b"\n")[0]
        if whole:
            self._read += len(whole) + 1
            for line in whole.split(b"\n"):
                self._on_line(line)
        if self._read < size:
            os.ftruncate(self._file, self._read)
