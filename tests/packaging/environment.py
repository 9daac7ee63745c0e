"""Environments that see the packages of the one that runs the tests, but not its Twofold: nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.guards.house import ROOT

SECONDS_MAX = 120


@dataclass(frozen=True)
class Environment:
    """A virtual environment. What runs in it knows nothing of the repository."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a user who has activated it; he has no plugins of pytest, whatever is installed for our tests."""
        path = f"{self.programs}:{os.environ['PATH']}"
        user = {"HOME": str(self.folder), "LANG": "C.UTF-8", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **user, **more}

    def run(self, folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run([*command], folder, self.variables(**variables))

    def install(self, *what: str) -> None:
        succeed(
            pip("--python", str(self.programs / "python"), "install", "--no-deps", "--no-build-isolation", *what), self.folder
        )


def new_environment(folder: Path) -> Environment:
    """Packages are found through one line in a .pth file; .pth files over there (an editable Twofold) do not count here."""
    venv.create(folder, with_pip=False, symlinks=True)
    environment = Environment(folder)
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    (Path(purelib) / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def copy_repository(to: Path) -> Path:
    """Every file and link under version control, and new ones: what a clone holds."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS_MAX).stdout
    for path in listed.split("\0"):
        if path and os.path.lexists(ROOT / path):
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, to / path, follow_symlinks=False)
    return to


def pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]


def run(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


def succeed(command: list[str], folder: Path) -> str:
    """What it printed. Fails when it fails."""
    ended = run(command, folder)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
