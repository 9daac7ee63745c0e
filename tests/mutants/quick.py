"""The quick way: which bugs does no unit test notice? Minutes for a room.

A process that has imported everything forks for each bug, and the child puts the changed function's code in the place of the old.
A bug in what runs when a module is imported gets a child of a process that has not imported it yet. Children run only the tests
near the bug, until one fails. What needs a server is left out.
"""

from __future__ import annotations

import gc
import importlib
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.guards.house import ROOT, room_sources
from tests.mutants.forked import in_forks
from tests.mutants.inside import FirstFailure, Live, Loop, NoServers, Ran, Recorder, first_failure, plant_in_import
from tests.mutants.near import files_with_tests
from tests.mutants.sites import Mutant
from tests.mutants.trial import UNIT

CONTRACT = "tests/contract/"
OPTIONS = ("-q", "-s", "--no-header", "--tb=no", "--disable-warnings", "-p", "no:cacheprovider", "-p", "no:xdist")
FOREIGN = (
    "aiohttp",
    "alembic.command",
    "dramatiq",
    "hypothesis",
    "pika",
    "prometheus_client",
    "psycopg",
    "redis.asyncio",
    "rich.live",
)
FOREIGN_TOO = ("schemathesis", "sqlalchemy.ext.asyncio", "structlog", "typer", "uvloop")
RECORD_SECONDS_MAX = 600.0
NEAR_SECONDS_MAX = 8.0
"""The fastest of the near tests, as many as take so long together."""
SLOWER_MAX, SLACK_SECONDS = 5, 10.0
IMPORT_FILES_MAX, IMPORT_SECONDS_MAX = 6, 120.0
PLAIN_ENDS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
SURVIVED = "SURVIVED"
LEFT = "left to the slow way"


class Recorded(msgspec.Struct):
    """A test file, the functions its import runs, its green tests; and what all of this was found with."""

    path: str
    texts: dict[str, int]
    imported: list[str]
    tests: list[Ran]


class Quick:
    def __init__(self, kept: Path, paths: Sequence[str]) -> None:
        """With these test files."""
        os.nice(19 - os.nice(0))
        self._texts = {source.path: source.text for source in room_sources()}
        self._modules = {source.path: source.module for source in room_sources()}
        for name in (*FOREIGN, *FOREIGN_TOO):
            importlib.import_module(name)
        _hypothesis()
        self._files = _recorded(kept, paths)
        self._by_function: dict[str, list[Ran]] = defaultdict(list)
        for file in self._files:
            for test in file.tests:
                for function in test.functions:
                    self._by_function[function].append(test)
        self._imported = {function for file in self._files for function in file.imported}

    def judged(self, mutants: Sequence[Mutant], with_imports: bool, told: Callable[[Mutant, str], None]) -> None:
        """Tells of each the test that notices it, or an empty text. What runs at import is LEFT, or takes seconds each."""
        at_import = [one for one in mutants if self._is_of_import(one)]
        if with_imports:
            for one, said in in_forks([(one, IMPORT_SECONDS_MAX) for one in at_import], self._imported_with):
                told(one, said)
        else:
            for one in at_import:
                told(one, LEFT)
        rest = sorted(set(mutants) - set(at_import))

        def loop(session: pytest.Session) -> None:
            items = {item.nodeid: item for item in session.items}
            near = {one: self._near(one) for one in rest}
            for path in {one.path for one in rest if near[one]}:
                importlib.import_module(self._modules[path])  # some are imported when they are first needed
            gc.collect()
            live = Live()
            gc.freeze()

            def work(mutant: Mutant) -> str:
                _silent()
                if not live.plant(mutant, self._texts[mutant.path]):
                    return LEFT
                return first_failure(session, [items[test.name] for test in near[mutant] if test.name in items])

            for one in rest:
                if not near[one]:
                    told(one, "")
            tasks = [(one, SLACK_SECONDS + SLOWER_MAX * sum(test.seconds for test in near[one])) for one in rest if near[one]]
            for one, said in in_forks(tasks, work):
                told(one, said)

        pytest.main([*OPTIONS, *(file.path for file in self._files)], plugins=[Loop(loop), NoServers()])

    def _is_of_import(self, mutant: Mutant) -> bool:
        function = f"{mutant.path}::{mutant.scope}"
        return not mutant.scope or _is_class(mutant) or function in self._imported and function not in self._by_function

    def _near(self, mutant: Mutant) -> list[Ran]:
        """Unit tests first, of each kind the fastest first."""
        tests = sorted(
            self._by_function[f"{mutant.path}::{mutant.scope}"], key=lambda test: (_is_contract(test.name), test.seconds)
        )
        seconds = 0.0
        found: list[Ran] = []
        for test in tests:
            seconds += test.seconds
            if seconds <= NEAR_SECONDS_MAX or not found:
                found.append(test)
        return found

    def _imported_with(self, mutant: Mutant) -> str:
        """The test files that run anything of the bug's file, or that import it."""
        _silent()
        inside = f"{mutant.path}::"
        files = [file for file in self._files if any(one.startswith(inside) for test in file.tests for one in test.functions)]
        files = files or [file for file in self._files if any(one.startswith(inside) for one in file.imported)]
        failure = FirstFailure()
        plant_in_import(mutant, self._texts[mutant.path])
        files.sort(key=lambda file: (_is_contract(file.path), sum(test.seconds for test in file.tests)))
        ended = pytest.main([*OPTIONS, "-x", *(file.path for file in files[:IMPORT_FILES_MAX])], plugins=[failure, NoServers()])
        return failure.name or ("" if ended in (0, 5) else f"pytest ends with {ended}")


def _recorded(kept: Path, paths: Sequence[str]) -> list[Recorded]:
    """What is kept and still true, and the rest found anew."""
    lines = kept.read_bytes().splitlines() if kept.exists() else []
    found = {one.path: one for line in lines if _is_true(one := msgspec.json.decode(line, type=Recorded))}
    missing = [path for path in paths if path not in found]
    for path, said in in_forks([(path, RECORD_SECONDS_MAX) for path in missing], _recorded_in):
        try:
            found[path] = msgspec.json.decode(said, type=Recorded)
        except msgspec.DecodeError:
            raise SystemExit(f"{path}: {said}") from None
        print(f"looked at {path}: {len(found[path].tests)} tests", flush=True)
    kept.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in found.values()))
    return [found[path] for path in paths]


def _recorded_in(path: str) -> str:
    _silent()
    recorder = Recorder()
    recorder.trace()
    if pytest.main([*OPTIONS, path], plugins=[recorder, NoServers()]) not in PLAIN_ENDS:
        return "pytest ends early"
    functions = {function for test in recorder.ran for function in test.functions} | recorder.imported
    texts = {one: _digest(one) for one in {path, *(function.split("::", 1)[0] for function in functions)}}
    return msgspec.json.encode(Recorded(path, texts, sorted(recorder.imported), recorder.ran)).decode()


def _is_true(recorded: Recorded) -> bool:
    return all(_digest(path) == digest for path, digest in recorded.texts.items())


def _digest(path: str) -> int:
    file = ROOT / path
    return zlib.crc32(file.read_bytes()) if file.exists() else 0


def _is_contract(name: str) -> bool:
    return name.startswith(CONTRACT)


def _is_class(mutant: Mutant) -> bool:
    return mutant.scope.rpartition(".")[2][:1].isupper()


def _silent() -> None:
    """Pytest tells what it does; here that is a bug's own business."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _hypothesis() -> None:
    """The same examples for each bug; and no bug's are kept, or made small."""
    from hypothesis import HealthCheck, Phase, settings

    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "quick", database=None, derandomize=True, phases=phases, deadline=None, suppress_health_check=list(HealthCheck)
    )
    settings.load_profile("quick")


def quick(mutants: Sequence[Mutant], kept: Path, is_contract: bool, with_imports: bool) -> float:
    """The part that is noticed of what is not left; tells every survivor in a line."""
    counts: Counter[str] = Counter()
    rooms: dict[str, Counter[str]] = defaultdict(Counter)

    def told(mutant: Mutant, killer: str) -> None:
        kind = "survived" if not killer else "left" if killer == LEFT else "by contract" if _is_contract(killer) else "by unit"
        counts[kind] += 1
        rooms[mutant.path.partition("/")[0]][kind] += 1
        if kind == "survived":
            print(f"{SURVIVED} {mutant}", flush=True)

    folders = (*UNIT, CONTRACT) if is_contract else UNIT
    Quick(kept, [path for path in files_with_tests() if path.startswith(folders)]).judged(mutants, with_imports, told)
    for room, found in rooms.items():
        print(f"{room}: {dict(found)}")
    noticed = counts["by unit"] + counts["by contract"]
    print(f"{noticed} of {noticed + counts['survived']} noticed; {counts['left']} left to the slow way")
    return noticed / max(1, noticed + counts["survived"])
