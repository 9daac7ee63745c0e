"""A bug planted in a copy of the project, and the tests near it: unit tests together, then file by file, fastest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.copied import ENDLESS, Copy
from tests.mutants.near import Near
from tests.mutants.sites import Mutant

UNIT = ("tests/unit/", "examples/")
SLOWER_MAX, SLACK_SECONDS = 5, 60
TIMES_MAX = 3
"""A hang is told from a busy machine: five times what the tests took without the bug, and a minute; and there and then, without
the bug, they have to end within that. Else both are tried again with more time."""


class Verdict(NamedTuple):
    """`killer` is the first test that failed; None when none of the files did."""

    mutant: Mutant
    killer: str | None
    files: int


class Nearby:
    def __init__(self, files: Sequence[Near]) -> None:
        self._by_function: dict[str, list[Near]] = defaultdict(list)
        for file in sorted(files, key=lambda file: file.seconds):
            for function in file.functions:
                self._by_function[function].append(file)

    def judged(self, mutant: Mutant, copy: Copy) -> Verdict:
        """The copy is whole again afterwards."""
        near = self._by_function[f"{mutant.path}::{mutant.scope or '<module>'}"]
        unit = [file for file in near if file.path.startswith(UNIT)]
        rest = [file for file in near if not file.path.startswith(UNIT)]
        whole = (copy.root / mutant.path).read_text()
        for stage in ([unit] if unit else []) + [[one] for one in rest]:
            for times in range(1, TIMES_MAX + 1):
                copy.write(mutant.path, mutant.applied(whole))
                try:
                    killer = _killer(stage, copy, times * _seconds_max(stage), is_timed=stage is not unit)
                finally:
                    copy.write(mutant.path, whole)
                if killer is None:
                    break
                if not killer.endswith(ENDLESS) or copy.failed(_paths(stage), times * _seconds_max(stage)) is None:
                    return Verdict(mutant, killer, len(near))
        return Verdict(mutant, None, len(near))


def _paths(stage: Sequence[Near]) -> list[str]:
    return [file.path for file in stage]


def _seconds_max(stage: Sequence[Near]) -> float:
    return SLACK_SECONDS + SLOWER_MAX * sum(file.seconds for file in stage)


def _killer(stage: Sequence[Near], copy: Copy, seconds_max: float, is_timed: bool) -> str | None:
    """Outside the unit tests the machine's load may fail a test: it has to fail once more, alone."""
    failed = copy.failed(_paths(stage), seconds_max)
    if failed is None or not is_timed or failed.endswith(ENDLESS):
        return failed
    test = failed.removeprefix("FAILED ").removeprefix("ERROR ").split(" - ", 1)[0]
    named = test if test.startswith("tests/") and Path(copy.root, test.split("::", 1)[0]).is_file() else stage[0].path
    return copy.failed([named], seconds_max) or copy.failed(_paths(stage), seconds_max)
