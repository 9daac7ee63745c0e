"""Only one process at a time may write an SQLite file: held by an advisory lock on a file beside it, freed by any death."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twofold.kernel.errors import Misconfigured


class FileLock:
    """Held from construction to `release`. Raises Misconfigured when somebody else, or this process already, holds it."""

    def __init__(self, path: Path) -> None:
        lock_path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Misconfigured(f"TWOFOLD_DATA: {lock_path} cannot be opened ({error.strerror}); use another folder") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Misconfigured(f"TWOFOLD_DATA: process {holder} has {path} open; stop it, or use another folder") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
