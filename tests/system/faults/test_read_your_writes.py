"""The token of a 202 shows its command's effect: at once, at any gateway, over four projector processes, at full load."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.chaos.read_your_writes import at_full_load
from tests.chaos.served import Backends, Plan, Served

PAIRS = 1_000


async def test_no_answer_is_stale(backends: Backends, tmp_path: Path) -> None:
    """A thousand here; `python -m tests.chaos --only read-your-writes` asks ten thousand times."""
    with Served(backends, tmp_path, Plan(projectors=4)) as served:
        answers = await at_full_load(served.urls, PAIRS, "ryw", Random(7))
    assert answers.stale == []
    assert answers.unanswered == []
    assert answers.right == PAIRS
