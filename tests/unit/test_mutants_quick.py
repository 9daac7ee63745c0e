"""The quick way of `tests.mutants` tells a bug that a test notices from one that none does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.guards.house import ROOT
from tests.mutants.copied import ENDLESS
from tests.mutants.forked import in_forks

JUDGE = """
import sys
from pathlib import Path
from tests.guards.house import room_sources
from tests.mutants.quick import Quick
from tests.mutants.sites import mutants_of

source = next(one for one in room_sources() if one.path == "kernel/backoff.py")
bug = next(one for one in mutants_of(source) if one.operator == "swapped")
quick = Quick(Path(sys.argv[1]), ["tests/unit/test_kernel_backoff.py"])
quick.judged([bug, bug._replace(after="(min)")], False, lambda one, killer: print(one.after, "by", killer))
"""


def test_a_bug_that_changes_something_is_noticed_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", JUDGE, str(tmp_path / "near")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    killers = dict(line.split(" by ") for line in told if " by " in line)
    assert killers["max"].startswith("tests/unit/test_kernel_backoff.py::test_")
    assert killers["(min)"] == ""


def test_what_a_child_says_or_how_it_ends_is_told() -> None:
    def work(task: str) -> str:
        if task == "stays":
            while True:
                pass
        if task == "raises":
            raise ValueError("loud")
        return task + "!"

    tasks = [("says", 60.0), ("stays", 0.2), ("raises", 60.0)]
    said = dict(in_forks(tasks, work))
    assert (said["says"], said["stays"]) == ("says!", ENDLESS)
    assert "ValueError: loud" in said["raises"]
