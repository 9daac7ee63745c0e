"""The running system is hurt, in every way once, and every law of the checker holds afterwards.

`make chaos` does the same many times, with other moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.checker import shown
from tests.chaos.embedded import Embedded
from tests.chaos.mid_replay import run_mid_replay, sample_wishes
from tests.chaos.own import LONG, OWN
from tests.chaos.rounds import run_round
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.served import Backends, Served
from tests.servers import Servers

SEED = 20_101_201
EMBEDDED_INVOICES = 150
EMBEDDED_KILLS = 3


@pytest.fixture(scope="module")
def served(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One system for all faults, one after the other: a wound of the first would show in the last."""
    with Served(backends, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_fault_loses_doubles_or_reorders_anything(served: Served, scenario: Scenario) -> None:
    one = run_round(served, scenario, scenario.name, Random(f"{SEED}:{scenario.name}"))
    print(one)
    assert not one.violations, "\n".join([str(one), *shown(one.violations), served.tails()])
    assert one.accepted > 0


@pytest.mark.parametrize("name", [name for name in OWN if name not in LONG])
def test_no_fault_of_a_system_of_its_own_does_either(servers: Servers, backends: Backends, tmp_path: Path, name: str) -> None:
    for one in OWN[name](servers, backends, tmp_path, 1, Random(f"{SEED}:{name}")):
        print(one)
        assert not one.violations, "\n".join([str(one), *shown(one.violations)])
        assert one.accepted > 0


def test_after_all_faults_every_row_of_every_view_equals_a_fresh_fold(served: Served) -> None:
    assert served.checker.check_all_rows() == []


def test_an_embedded_system_killed_in_mid_replay_goes_on_and_nothing_is_doubled(tmp_path: Path) -> None:
    commands = sample_wishes(EMBEDDED_INVOICES)
    random = Random(SEED)
    part = -(-len(commands) // EMBEDDED_KILLS)
    with Embedded(tmp_path) as embedded:
        for number in range(EMBEDDED_KILLS):
            one = run_mid_replay(embedded, commands[number * part : (number + 1) * part], f"month-{number}", random)
            print(one)
            assert not one.violations, "\n".join([str(one), *shown(one.violations), embedded.tails()])
        assert embedded.checker.check_all_rows() == []
