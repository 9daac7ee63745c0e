"""A bug planted in a copy of the project, and the tests near it: unit tests together, then those that run it, the fastest first,
a few at a time; and at last all tests of the files whose fixtures do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.copied import ENDLESS, Copy
from tests.mutants.near import Near, NearTest
from tests.mutants.sites import Mutant

UNIT = ("tests/unit/", "examples/")
SLOWER_MAX, SLACK_SECONDS = 5, 60
TIMES_MAX = 3
"""A hang is told from a busy machine: five times what the tests took without the bug, and a minute; and there and then, without
the bug, they have to end within that. Else both are tried again with more time."""
TOGETHER_SECONDS = 15.0
"""Tests that take so long together are run by one pytest."""


class Verdict(NamedTuple):
    """`killer` is the first test that failed; None when none of `tests` did."""

    mutant: Mutant
    killer: str | None
    tests: int


class Stage(NamedTuple):
    tests: list[str]
    seconds: float
    is_timed: bool
    """Whether the machine's load may fail them."""


class Nearby:
    def __init__(self, files: Sequence[Near]) -> None:
        self._files = sorted(files, key=lambda file: file.seconds)
        self._by_function: dict[str, list[tuple[Near, list[NearTest] | None]]] = defaultdict(list)
        for file in self._files:
            shared = set(file.shared)
            for place, function in enumerate(file.functions):
                running = None if place in shared else [test for test in file.tests if place in test.functions]
                self._by_function[function].append((file, running))

    def judged(self, mutant: Mutant, copy: Copy) -> Verdict:
        """The copy is whole again afterwards."""
        stages = self._stages(f"{mutant.path}::{mutant.scope or '<module>'}")
        whole = (copy.root / mutant.path).read_text()
        for stage in stages:
            for times in range(1, TIMES_MAX + 1):
                seconds_max = times * (SLACK_SECONDS + SLOWER_MAX * stage.seconds)
                copy.write(mutant.path, mutant.applied(whole))
                try:
                    killer = _killer(stage, copy, seconds_max)
                finally:
                    copy.write(mutant.path, whole)
                if killer is None:
                    break
                if not killer.endswith(ENDLESS) or copy.failed(stage.tests, seconds_max) is None:
                    return Verdict(mutant, killer, sum(len(stage.tests) for stage in stages))
        return Verdict(mutant, None, sum(len(stage.tests) for stage in stages))

    def _stages(self, function: str) -> list[Stage]:
        near = self._by_function[function]
        units = [file for file, _ in near if file.path.startswith(UNIT)]
        found = [Stage([file.path for file in units], sum(file.seconds for file in units), False)] if units else []
        rest = [(file, running) for file, running in near if not file.path.startswith(UNIT)]
        of_tests = [Stage([test.name], test.seconds, True) for _, running in rest for test in running or ()]
        of_files = [Stage([file.path], file.seconds, True) for file, running in rest if running is None]
        return [*found, *_together(sorted(of_tests, key=lambda stage: stage.seconds)), *of_files]


def _together(stages: Sequence[Stage]) -> list[Stage]:
    """As few as can be, none much longer than TOGETHER_SECONDS."""
    found: list[Stage] = []
    for stage in stages:
        if found and found[-1].seconds < TOGETHER_SECONDS:
            found[-1] = Stage([*found[-1].tests, *stage.tests], found[-1].seconds + stage.seconds, True)
        else:
            found.append(stage)
    return found


def _killer(stage: Stage, copy: Copy, seconds_max: float) -> str | None:
    """Outside the unit tests the machine's load may fail a test: it has to fail once more, alone."""
    failed = copy.failed(stage.tests, seconds_max)
    if failed is None or not stage.is_timed or failed.endswith(ENDLESS):
        return failed
    test = failed.removeprefix("FAILED ").removeprefix("ERROR ").split(" - ", 1)[0]
    named = test if test.startswith("tests/") and Path(copy.root, test.split("::", 1)[0]).is_file() else stage.tests[0]
    return copy.failed([named], seconds_max) or copy.failed(stage.tests, seconds_max)
