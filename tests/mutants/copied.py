"""A copy of the project, which may be hurt, and its tests run there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.guards.house import ROOT, tracked_files
from tests.mutants.marking import FOLDER

TAIL_LINES = 3
ENDLESS = "does not end"


class Copy:
    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.root = folder / "project"
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(self.root), FOLDER: str(folder)}
        self._written = 0
        for path in tracked_files():
            copy = self.root / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy)
        for link in (ROOT / "twofold").iterdir():
            if link.is_symlink():
                (self.root / "twofold" / link.name).symlink_to(link.readlink())

    def write(self, path: str, text: str) -> None:
        """Python tells by time (whole seconds) and size whether what it has compiled is still true: no two have the same time."""
        self._written += 1
        (self.root / path).write_text(text)
        os.utime(self.root / path, (self._written, self._written))

    def failed(self, tests: Sequence[str], seconds_max: float, *options: str) -> str | None:
        """Pytest's line about the first test that failed, or that they do not end; None when all are green."""
        quiet = ("-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", *quiet, *options, *tests]
        with tempfile.TemporaryFile("w+") as said:  # what is left running holds it, and nobody waits for that
            process = subprocess.Popen(
                command, cwd=self.root, env=self._environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                if not _has_ended(process, seconds_max):
                    return f"{tests[0]} … {ENDLESS}"
            finally:
                end_marked(self.root.parent)
            if process.returncode == 0:
                return None
            said.seek(0)
            lines = said.read().splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return (failed or lines[-TAIL_LINES:] or ["?"])[0]


def end_marked(folder: Path) -> None:
    """A bug may keep a test from ending what it has started, which would run on beside all others."""
    mark = f"{FOLDER}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended by itself
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def _has_ended(process: subprocess.Popen[bytes], seconds_max: float) -> bool:
    """By itself, in time; else it is ended, and given a while to end what it has started."""
    try:
        process.wait(seconds_max)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return False
