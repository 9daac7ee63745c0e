"""The checker is checked: bugs planted in the running system are caught, and the honest system passes the very same hurts.

Two systems carry two bugs each, one in the workers and one in the projectors, which break different laws. Another is
honest, and as slow as they are. The last one loses its log's tail and nobody in it notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.chaos.checker import shown
from tests.chaos.cut_worker import cut_for
from tests.chaos.failovers import restore_round
from tests.chaos.planted import SLOW_SECONDS
from tests.chaos.rooms import Room
from tests.chaos.rounds import run_round
from tests.chaos.scenarios import Scenario
from tests.chaos.served import Backends, Plan, Served
from tests.servers import Servers

SETTLE_SECONDS_MAX = 5.0
CUT_SECONDS, STANDSTILL_SECONDS_MAX = 12.0, 5.0
WAIT_SECONDS_MAX = 10.0
TICK_SECONDS = 0.005
ROUNDS_MAX = 3
"""What a fault hits is chance, so a bug may go unseen once; it must be seen in one of so many rounds."""
COMMITS_BEFORE_CUT, COMMITS_BEFORE_KILL = 2, 3
"""Load is light and begins on fresh channels: the first delivery is one message, the second and third are about a dozen of each
lane. When the third is under way, its tags stand for messages behind it on the next channel."""
SETTLED_SECONDS = 0.05 + 0.2 * SLOW_SECONDS
"""Enough to settle what is committed, too little to execute what came after it."""
LOST = "every command answered 202 has exactly one outcome"
KEPT = "lanes go to who can work on them"
WRONG_ROWS = "views equal a fresh fold"
UNNOTICED = {
    "a view that stands on a lost event is diverged, and nothing else",
    "a view that stands on a lost event is let be",
    "a diverged view answers no token",
    "twofold_view_state tells which views are diverged",
    "doctor says which views are diverged, and what to type",
}


def cut_then_kill(served: Served, random: Random) -> str:
    """A cut finds deliveries under way, which come again on new channels; workers die; projectors die when a checkpoint has
    just moved."""
    commits = _commits(served)
    _wait(lambda: _commits(served) >= commits + COMMITS_BEFORE_CUT)
    time.sleep(SETTLED_SECONDS)
    served.broker_proxy.cut_all()
    _wait(lambda: _commits(served) >= commits + COMMITS_BEFORE_KILL)
    time.sleep(SETTLED_SECONDS)
    _kill(served.workers)
    before = served.stores.checkpoints()["inventory"]
    _wait(lambda: served.stores.checkpoints()["inventory"] != before)
    _kill(served.projectors)
    return "broker connections cut, workers killed, projectors killed"


def _commits(served: Served) -> int:
    """Transactions of the log: a batch is decided in one moment."""
    return int(served.stores.select("SELECT count(DISTINCT decided_at) FROM inbox")[0][0])


def _wait(claim: Callable[[], bool]) -> None:
    """Until then, or a while: a planted bug may be what keeps it from coming."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not claim() and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)


def _kill(rooms: list[Room]) -> None:
    for room in rooms:
        room.kill()
        room.start()
    for room in rooms:
        room.wait_ready()


HURT = Scenario("cut-then-kill", cut_then_kill, before_seconds=(0.0, 0.0), single_streams=16, bulk_tellers=0, pause_seconds=0.15)


@contextmanager
def planted(backends: Backends, folder: Path, workers: str, projectors: str) -> Iterator[Served]:
    modules = {
        room: ("tests.chaos.planted", names) for room, names in (("workers", workers), ("readmodels", projectors)) if names
    }
    with Served(backends, folder, Plan(gateways=1, workers=1, projectors=1, modules=modules)) as served:
        yield served


@pytest.mark.parametrize(
    ("workers", "projectors"),
    [("ack-before-commit,slow-execution", "checkpoint-before-rows"), ("stale-tag,slow-execution", "skipping-tailer")],
)
def test_planted_bugs_are_caught(backends: Backends, tmp_path: Path, workers: str, projectors: str) -> None:
    with planted(backends, tmp_path, workers, projectors) as served:
        broken: set[str] = set()
        for number in range(ROUNDS_MAX):
            one = run_round(served, HURT, f"planted-{number}", Random(number), SETTLE_SECONDS_MAX)
            print(one)
            broken |= {violation.law for violation in one.violations}
            if broken >= {LOST, WRONG_ROWS}:
                return
        pytest.fail(f"only these were caught: {broken}\n{served.tails()}")


def test_a_worker_that_keeps_its_lanes_though_it_is_cut_off_is_caught(backends: Backends, tmp_path: Path) -> None:
    keeper = ("tests.chaos.planted", "keep-leases")
    hurt = Scenario("keep", lambda served, _: cut_for(served, CUT_SECONDS, keeper), standstill_seconds_max=STANDSTILL_SECONDS_MAX)
    with planted(backends, tmp_path, "", "") as served:
        one = run_round(served, hurt, "keep", Random(1))
        print(one)
        assert [violation.law for violation in one.violations] == [KEPT], served.tails()


def test_a_lost_tail_that_nobody_notices_is_caught(servers: Servers, backends: Backends, tmp_path: Path) -> None:
    """The honest system passes the same in test_backup.py."""
    modules = {
        room: ("tests.chaos.planted", bug)
        for room, bug in (("gateway", "blind-lag"), ("monitoring", "blind-lag"), ("readmodels", "folds-on"))
    }
    one = restore_round(servers, backends, tmp_path, "planted", Random(7), modules)
    print(one)
    assert {violation.law for violation in one.violations} == UNNOTICED, "\n".join(shown(one.violations))


def test_the_honest_system_passes_the_same(backends: Backends, tmp_path: Path) -> None:
    with planted(backends, tmp_path, "slow-execution", "") as served:
        one = run_round(served, HURT, "planted", Random(11))
        print(one)
        assert one.violations == [], served.tails()
        assert served.checker.check_all_rows() == []
