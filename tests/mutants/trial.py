"""A copy of the project with one bug in it, and the tests that should notice: the cheap ones first, then those of its room."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.guards.house import ROOT, tracked_files
from tests.mutants.sites import Mutant

FIRST: Sequence[str] = ("tests/unit",)
ROOM_TESTS: Mapping[str, Sequence[str]] = {
    "kernel": ("tests/contract/test_execute.py", "tests/contract", "tests/system"),
    "database": ("tests/contract",),
    "shop": ("tests/system/test_replay.py",),
    "eventstore": ("tests/contract/test_eventstore.py", "tests/contract", "tests/system"),
    "bus": ("tests/contract", "tests/system"),
    "monitoring": ("tests/guards/test_metrics.py", "tests/system"),
    "subscriptions": ("tests/contract", "tests/system"),
    "workers": ("tests/contract/test_execute.py", "tests/contract", "tests/system"),
    "readmodels": ("tests/contract", "tests/system"),
    "processes": ("tests/contract", "tests/system"),
    "gateway": ("tests/system", "tests/browser"),
    "twofold": ("tests/guards", "tests/system"),
}
SECONDS_MAX = 900
TAIL_LINES = 3


class Trial:
    """A folder that holds the copy. One bug at a time; the copy is whole again after each."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._root = folder / "project"
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(self._root), "PYTHONDONTWRITEBYTECODE": "1"}
        for path in tracked_files():
            copy = self._root / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy)
        for link in (ROOT / "twofold").iterdir():
            if link.is_symlink():
                (self._root / "twofold" / link.name).symlink_to(link.readlink())

    def killer(self, mutant: Mutant) -> str | None:
        """What noticed the bug: the first failed test, or a stage that did not end. None when nothing did."""
        file = self._root / mutant.path
        whole = file.read_text()
        file.write_text(mutant.applied(whole))
        try:
            for stage in (FIRST, *[(path,) for path in ROOM_TESTS[mutant.path.split("/", 1)[0]]]):
                if (failed := self._run(stage)) is not None:
                    return failed
            return None
        finally:
            file.write_text(whole)

    def _run(self, paths: Sequence[str]) -> str | None:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *paths]
        process = subprocess.Popen(
            command,
            cwd=self._root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)
            return f"{' '.join(paths)} does not end"
        if process.returncode == 0:
            return None
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return (failed or said.splitlines()[-TAIL_LINES:] or ["?"])[0]
