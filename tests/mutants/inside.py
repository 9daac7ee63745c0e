"""Plugins of pytest for a process that has been forked: which functions each test runs, and a bug in what is imported already."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.guards.house import ROOT
from tests.mutants.near import in_room
from tests.mutants.sites import Mutant

HERE = f"{ROOT}/"


class Ran(msgspec.Struct):
    """A test: how long it takes, and the functions that run in it or in its fixtures."""

    name: str
    seconds: float
    functions: list[str]


class Recorder:
    """Each test's functions, of those that are green."""

    def __init__(self) -> None:
        self.ran: list[Ran] = []
        self.imported: set[str] = set()
        self._seen: dict[int, CodeType] = {}
        self.red: set[str] = set()

    def trace(self) -> None:
        seen = self._seen

        def call(frame: FrameType, event: str, argument: Any) -> None:
            code = frame.f_code
            if id(code) not in seen:
                seen[id(code)] = code

        threading.settrace(call)
        sys.settrace(call)

    def pytest_collection_finish(self) -> None:
        self.imported = self._taken()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        begun = time.clock_gettime(time.CLOCK_MONOTONIC)  # tests put their own clock in the place of others
        self.trace()
        yield
        if item.nodeid not in self.red:
            self.ran.append(Ran(item.nodeid, time.clock_gettime(time.CLOCK_MONOTONIC) - begun, sorted(self._taken())))
        self._seen.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.red.add(report.nodeid)

    def _taken(self) -> set[str]:
        called = {f"{code.co_filename.removeprefix(HERE)}::{code.co_qualname}" for code in list(self._seen.values())}
        self._seen.clear()
        return {function for one in called if (function := in_room(one)) is not None}


class NoServers:
    """What needs a server is skipped."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        if fixturedef.argname == "servers":
            pytest.skip("quick")


class FirstFailure:
    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


class Loop:
    """Collects, and does what is asked instead of running all tests."""

    def __init__(self, asked: Callable[[pytest.Session], None]) -> None:
        self._asked = asked

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._asked(session)
        return True


def first_failure(session: pytest.Session, items: Sequence[pytest.Item]) -> str:
    """The name of the first of these tests that fails; empty when all are green."""
    failure = FirstFailure()
    session.config.pluginmanager.register(failure)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failure.name:
            session._setupstate.teardown_exact(None)
            break
    return failure.name


class _Place(NamedTuple):
    path: str
    function: str


class Live:
    """Every function of the rooms that is alive in this process."""

    def __init__(self) -> None:
        self._functions: dict[_Place, list[FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__code__.co_filename.startswith(HERE):
                place = in_room(f"{one.__code__.co_filename.removeprefix(HERE)}::{one.__code__.co_qualname}")
                if place is not None:
                    self._functions[_Place(*place.split("::", 1))].append(one)

    def plant(self, mutant: Mutant, text: str) -> bool:
        """False when no live function holds the place, or the bug cannot be put into one that is made already."""
        functions = [one for name in _chain(mutant.scope) for one in self._functions.get(_Place(mutant.path, name), ())]
        if not functions:
            return False
        made = compile(mutant.applied(text), functions[0].__code__.co_filename, "exec", dont_inherit=True)
        codes = {(code.co_qualname, code.co_firstlineno): code for code in _below(made)}
        is_planted = False
        for function in functions:
            old = function.__code__
            new = codes.get((old.co_qualname, old.co_firstlineno))
            if new is not None and len(new.co_freevars) == len(old.co_freevars):
                function.__code__ = new
                is_planted = True
        return is_planted


def plant_in_import(mutant: Mutant, text: str) -> None:
    """For what is not imported yet."""
    get_code = SourceFileLoader.get_code

    def planted(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        if in_room(f"{loader.path.removeprefix(HERE)}::") == f"{mutant.path}::":
            return compile(mutant.applied(text), loader.path, "exec", dont_inherit=True)
        return get_code(loader, fullname)

    SourceFileLoader.get_code = planted  # type: ignore[assignment, method-assign]


def _chain(scope: str) -> Iterable[str]:
    """The functions around a function, and itself."""
    parts = scope.split(".<locals>.")
    return (".<locals>.".join(parts[: count + 1]) for count in range(len(parts)))


def _below(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _below(constant)
