"""A copy of the project, which may be hurt, and its tests run there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            return f"{tests[0]} … {ENDLESS}"
        if process.returncode == 0:
            return None
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return (failed or said.splitlines()[-TAIL_LINES:] or ["?"])[0]
