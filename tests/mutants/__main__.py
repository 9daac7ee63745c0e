"""`python -m tests.mutants [--seed S] [--count N]`: exit status 1 when fewer than 95 % of the bugs are noticed.

Every drawn bug is told in a line: noticed, SURVIVED, or harmless (not counted, for the reason told); where, what, by which test.
`--near FILE` keeps which tests are near what for another run: finding that out takes as long as all tests.
`--quick` tells in minutes what no unit test notices, of all bugs (quick.py).
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import TypeVar

import msgspec

from tests.guards.house import room_sources
from tests.mutants.copied import Copy
from tests.mutants.harmless import reason
from tests.mutants.near import Near, files_with_tests, record_calls, recorded
from tests.mutants.sites import mutants_of
from tests.mutants.trial import Nearby
from tests.servers import Servers

KILLED_MIN = 0.95
WORKERS_MAX = 4

Task = TypeVar("Task")
Result = TypeVar("Result")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(3))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--room", action="append", help="only bugs in this room; may be given more than once")
    parser.add_argument("--place", help="only bugs whose place and change hold this text, all of them")
    parser.add_argument("--near", type=Path, help="where it is kept which tests are near what")
    parser.add_argument("--workers", type=int, default=1, choices=range(1, WORKERS_MAX + 1), help="how many tests at a time")
    parser.add_argument("--quick", action="store_true", help="all bugs, and unit tests only, in one process that forks")
    parser.add_argument("--contract", action="store_true", help="--quick: also the contract tests that need no server")
    parser.add_argument("--imports", action="store_true", help="--quick: also what runs while a module is imported, seconds each")
    parser.add_argument("--file", action="append", default=[], help="only bugs in this file; may be given more than once")
    parser.add_argument("--again", type=Path, help="--quick: only bugs that survived when it told this")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sources = [one for one in room_sources() if not given.room or one.room in given.room]
    places = [one for source in sources if not given.file or source.path in given.file for one in mutants_of(source)]
    if given.quick:
        from tests.mutants.quick import SURVIVED, quick  # its process may not have imported what no test has asked for

        asked = [one for one in places if reason(one) is None and (given.place or "") in str(one)]
        if given.again:
            before = set(given.again.read_text().splitlines())
            asked = [one for one in asked if f"{SURVIVED} {one}" in before]
        kept = given.near or Path(tempfile.gettempdir(), "twofold-quick-near")
        return 0 if quick(asked, kept, given.contract, given.imports) >= KILLED_MIN else 1
    drawn = Random(given.seed).sample(places, min(given.count, len(places)))
    if given.place:
        drawn = [one for one in places if given.place in str(one)]
    print(f"seed {given.seed}: {len(drawn)} of {len(places)} bugs", flush=True)
    for mutant in drawn:
        if (why := reason(mutant)) is not None:
            print(f"harmless {mutant}   {why}", flush=True)
    asked = [mutant for mutant in drawn if reason(mutant) is None]
    survivors = []
    with tempfile.TemporaryDirectory() as folder, shared_servers() as environment:
        nearby = Nearby(near_files(given.near or Path(folder) / "near", given.workers, environment))
        with copies(given.workers, environment) as pool:
            for verdict in shared_out(asked, nearby.judged, pool):
                if verdict.killer is None:
                    survivors.append(verdict.mutant)
                found = f"none of {verdict.tests} files and tests" if verdict.killer is None else verdict.killer
                print(f"{'SURVIVED' if verdict.killer is None else 'noticed '} {verdict.mutant}   {found}", flush=True)
    killed = 1 - len(survivors) / max(1, len(asked))
    print(f"{killed:.1%} of the {len(asked)} that change anything noticed; survivors: {len(survivors)}")
    for mutant in survivors:
        print(f"  {mutant}")
    return 0 if killed >= KILLED_MIN else 1


def near_files(kept: Path, workers: int, environment: dict[str, str]) -> list[Near]:
    """Those that are kept already, and each of the others after its run: what ends early goes on there."""
    found = [msgspec.json.decode(line, type=Near) for line in kept.read_bytes().splitlines()] if kept.exists() else []
    missing = sorted(set(files_with_tests()) - {near.path for near in found}, key=lambda path: ("unit" not in path, path))
    if not missing:
        return found
    red: list[str] = []
    with copies(workers, environment) as pool, kept.open("ab") as file:
        for copy in pool:
            record_calls(copy)
        for path, near, failed in shared_out(missing, recorded, pool):
            if near is None:
                red.append(f"{path} is red without a bug: {failed}")
                continue
            print(f"green    {path}: {near.seconds:.1f} s, {len(near.functions)} functions", flush=True)
            file.write(msgspec.json.encode(near) + b"\n")
            file.flush()
            found.append(near)
    if red:
        raise SystemExit("\n".join(red))
    return found


def shared_out(tasks: Iterable[Task], work: Callable[[Task, Copy], Result], pool: list[Copy]) -> Iterator[Result]:
    """Results as they come; each copy does one at a time."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in pool:
        free.put(copy)

    def in_a_copy(task: Task) -> Result:
        copy = free.get()
        try:
            return work(task, copy)
        finally:
            free.put(copy)

    threads = ThreadPoolExecutor(len(pool))
    try:
        for done in as_completed([threads.submit(in_a_copy, task) for task in tasks]):
            yield done.result()
    finally:
        threads.shutdown(cancel_futures=True)  # whoever ends the run waits for what is under way, and for no more


@contextmanager
def copies(count: int, environment: dict[str, str]) -> Iterator[list[Copy]]:
    with tempfile.TemporaryDirectory(prefix="twofold-mutants-") as folder:
        yield [Copy(Path(folder) / str(number), environment) for number in range(count)]


@contextmanager
def shared_servers() -> Iterator[dict[str, str]]:
    servers = Servers()
    try:
        yield {
            "TWOFOLD_TEST_POSTGRES_URL": servers.postgres_url,
            "TWOFOLD_TEST_BROKER_URL": servers.broker_url,
            "TWOFOLD_TEST_REDIS_URL": servers.redis_url,
        }
    finally:
        servers.close()


if __name__ == "__main__":
    sys.exit(main())
