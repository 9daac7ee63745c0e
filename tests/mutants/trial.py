"""A bug planted in a copy of the project, and the tests near it: unit tests together, then file by file, fastest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.copied import Copy
from tests.mutants.near import Near
from tests.mutants.sites import Mutant

UNIT = ("tests/unit/", "examples/")
SLOWER_MAX, SLACK_SECONDS = 5, 60
"""A hang is told from a busy machine: five times what the tests took without the bug, and a minute."""


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
        copy.write(mutant.path, mutant.applied(whole))
        try:
            for stage in ([unit] if unit else []) + [[one] for one in rest]:
                if (killer := _killer(stage, copy, is_timed=stage is not unit)) is not None:
                    return Verdict(mutant, killer, len(near))
            return Verdict(mutant, None, len(near))
        finally:
            copy.write(mutant.path, whole)


def _killer(stage: Sequence[Near], copy: Copy, is_timed: bool) -> str | None:
    """Outside the unit tests the machine's load may fail a test: it has to fail once more, alone."""
    paths = [file.path for file in stage]
    seconds_max = SLACK_SECONDS + SLOWER_MAX * sum(file.seconds for file in stage)
    failed = copy.failed(paths, seconds_max)
    if failed is None or not is_timed or failed.endswith("does not end"):
        return failed
    test = failed.removeprefix("FAILED ").removeprefix("ERROR ").split(" - ", 1)[0]
    named = test if test.startswith("tests/") and Path(copy.root, test.split("::", 1)[0]).is_file() else paths[0]
    return copy.failed([named], seconds_max) or copy.failed(paths, seconds_max)
