"""The checker is checked: bugs planted in the running system are caught, and the honest system passes the very same hurts.

Two systems carry two bugs each, one in the workers and one in the projectors, which break different laws. The third is
honest, and as slow as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.chaos.rooms import wait_until
from tests.chaos.rounds import Round, run_round
from tests.chaos.scenarios import Scenario
from tests.chaos.served import Backends, Plan, Served

SETTLE_SECONDS_MAX = 10.0
MOVE_SECONDS_MAX = 10.0
CUTS = 3
CUT_SECONDS = 0.5
"""Long enough to reconnect and be given everything again, too short to have executed it."""
LOST = "every command answered 202 has exactly one outcome"
WRONG_ROWS = "views equal a fresh fold"


def cut_then_kill(served: Served, random: Random) -> str:
    """Projectors die when a checkpoint has just moved; cuts find deliveries under way, which come again on new channels;
    then workers die."""
    before = served.stores.checkpoints()["inventory"]
    wait_until("a checkpoint moves", lambda: served.stores.checkpoints()["inventory"] != before, MOVE_SECONDS_MAX)
    for room in served.projectors:
        room.kill()
    for _ in range(CUTS):
        served.broker_proxy.cut_all()
        time.sleep(CUT_SECONDS)
    for room in served.workers:
        room.kill()
    for room in (rooms := [*served.workers, *served.projectors]):
        room.start()
    for room in rooms:
        room.wait_ready()
    return f"projectors killed, broker connections cut {CUTS} times, workers killed"


HURT = Scenario("cut-then-kill", cut_then_kill)


@contextmanager
def planted(backends: Backends, folder: Path, workers: str, projectors: str) -> Iterator[Served]:
    modules = {
        room: ("tests.chaos.planted", names) for room, names in (("workers", workers), ("readmodels", projectors)) if names
    }
    with Served(backends, folder, Plan(gateways=1, workers=1, projectors=1, modules=modules)) as served:
        yield served


def hurt(served: Served) -> Round:
    one = run_round(served, HURT, "planted", Random(11), SETTLE_SECONDS_MAX)
    print(one)
    return one


@pytest.mark.parametrize(
    ("workers", "projectors"),
    [("ack-before-commit,slow-execution", "checkpoint-before-rows"), ("stale-tag,slow-execution", "skipping-tailer")],
)
def test_planted_bugs_are_caught(backends: Backends, tmp_path: Path, workers: str, projectors: str) -> None:
    with planted(backends, tmp_path, workers, projectors) as served:
        one = hurt(served)
        assert LOST in {violation.law for violation in one.violations}, served.tails()
        assert WRONG_ROWS in {violation.law for violation in one.violations}, served.tails()


def test_the_honest_system_passes_the_same(backends: Backends, tmp_path: Path) -> None:
    with planted(backends, tmp_path, "slow-execution", "") as served:
        one = hurt(served)
        assert one.violations == [], served.tails()
        assert served.checker.check_all_rows() == []
