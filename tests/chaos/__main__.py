"""`python -m tests.chaos [--seed N] [--rounds 20] [--only NAME]`: every scenario, many times, on a system of its own.

Prints one line for each round and a table at the end; exit status 1 when any law was broken. Bounded in count and time;
ends everything it started, also on Ctrl-C. The same seed makes the same choices (what the machine makes of them differs).
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType

from tests.chaos.checker import Violation, shown
from tests.chaos.embedded import Embedded
from tests.chaos.mid_replay import compare_with_the_file, run_mid_replay, sample_wishes
from tests.chaos.own import OWN
from tests.chaos.read_your_writes import at_full_load
from tests.chaos.rounds import Round, rounds_of
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.served import Backends, Plan, Served, private_backends
from tests.servers import Servers

MINUTES_MAX = 150.0
"""After that no further round begins."""
READ_YOUR_WRITES_PAIRS = 10_000
EMBEDDED, READ_YOUR_WRITES = "kill-embedded", "read-your-writes"
NAMES = [*(scenario.name for scenario in SCENARIOS), *OWN, EMBEDDED, READ_YOUR_WRITES]


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"seed {arguments.seed}, {arguments.rounds} rounds of each", flush=True)
    deadline = time.monotonic() + MINUTES_MAX * 60
    rounds: list[Round] = []
    servers = Servers()
    try:
        with tempfile.TemporaryDirectory(prefix="twofold-chaos-") as folder:
            for one in _all_rounds(servers, Path(folder), arguments):
                rounds.append(one)
                print(one, *shown(one.violations), sep="\n", flush=True)
                if time.monotonic() > deadline:
                    print(f"stopped after {MINUTES_MAX:.0f} minutes", flush=True)
                    return 1
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    finally:
        servers.close()
        _print_table(rounds)
    return 1 if any(one.violations for one in rounds) else 0


def _all_rounds(servers: Servers, folder: Path, arguments: argparse.Namespace) -> Iterator[Round]:
    wanted = arguments.only or NAMES
    if EMBEDDED in wanted:
        yield from _embedded_rounds(folder, arguments.rounds, Random(f"{arguments.seed}:{EMBEDDED}"))
    if wanted == [EMBEDDED]:
        return
    with private_backends(servers) as backends:
        for scenario in SCENARIOS:
            if scenario.name in wanted:
                random = Random(f"{arguments.seed}:{scenario.name}")
                yield from _served_rounds(backends, folder, scenario, arguments.rounds, random)
        for name in OWN:
            if name in wanted:
                random = Random(f"{arguments.seed}:{name}")
                yield from _own_rounds(servers, backends, folder, name, arguments.rounds, random)
        if READ_YOUR_WRITES in wanted:
            yield _read_your_writes(backends, folder, Random(f"{arguments.seed}:{READ_YOUR_WRITES}"))


def _served_rounds(backends: Backends, folder: Path, scenario: Scenario, count: int, random: Random) -> Iterator[Round]:
    with Served(backends, folder) as served:
        try:
            yield from rounds_of(served, scenario, count, random)
        except (RuntimeError, AssertionError) as error:
            traceback.print_exc()
            yield _failed(scenario.name, error, served.tails())


def _own_rounds(servers: Servers, backends: Backends, folder: Path, name: str, count: int, random: Random) -> Iterator[Round]:
    try:
        yield from OWN[name](servers, backends, folder, count, random)
    except (RuntimeError, AssertionError) as error:
        traceback.print_exc()
        yield _failed(name, error, "")


def _embedded_rounds(folder: Path, count: int, random: Random) -> Iterator[Round]:
    commands = sample_wishes()
    part = -(-len(commands) // count)
    with Embedded(folder) as embedded:
        for number in range(count):
            one = run_mid_replay(embedded, commands[number * part : (number + 1) * part], f"month-{number}", random)
            if number == count - 1:
                one.violations += embedded.checker.check_all_rows() + compare_with_the_file(embedded)
            yield one


def _read_your_writes(backends: Backends, folder: Path, random: Random) -> Round:
    with Served(backends, folder, Plan(projectors=4)) as served:
        start = time.monotonic()
        answers = asyncio.run(at_full_load(served.urls, READ_YOUR_WRITES_PAIRS, "ryw", random))
        seconds = time.monotonic() - start
    did = f"{answers.right} right answers, p50 {answers.percentile(0.5):.3f} s, p99 {answers.percentile(0.99):.3f} s"
    violations = [Violation("read your writes", line) for line in answers.stale + answers.unanswered]
    return Round(READ_YOUR_WRITES, did, READ_YOUR_WRITES_PAIRS, READ_YOUR_WRITES_PAIRS / seconds, 0, 0.0, 0.0, violations)


def _failed(name: str, error: Exception, tails: str) -> Round:
    print(tails, file=sys.stderr)
    return Round(name, f"{type(error).__name__}", 0, 0.0, 0, 0.0, 0.0, [Violation("a round runs to its end", str(error)[:300])])


def _print_table(rounds: list[Round]) -> None:
    row = "{:<20} {:>6} {:>9} {:>7} {:>8} {:>14} {:>13} {:>10}"
    print(row.format("scenario", "rounds", "accepted", "per s", "retries", "recovery max s", "settle max s", "violations"))
    for name in dict.fromkeys(one.scenario for one in rounds):
        mine = [one for one in rounds if one.scenario == name]
        print(
            row.format(
                name,
                len(mine),
                sum(one.accepted for one in mine),
                f"{sum(one.rate for one in mine) / len(mine):.0f}",
                sum(one.retries for one in mine),
                f"{max(one.recovery_seconds for one in mine):.2f}",
                f"{max(one.settle_seconds for one in mine):.1f}",
                sum(len(one.violations) for one in mine),
            )
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.chaos", description="Hurt the running system, and check what came of it.")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="makes the same choices again")
    parser.add_argument("--rounds", type=int, default=20, choices=range(1, 1001), metavar="N", help="rounds of each scenario")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; repeatable")
    return parser.parse_args()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
