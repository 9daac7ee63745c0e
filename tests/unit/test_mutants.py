"""The bugs that `tests.mutants` plants: each is one change, and leaves a program."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from random import Random

from tests.guards.house import Source, room_sources
from tests.mutants.copied import Copy
from tests.mutants.harmless import HARMLESS
from tests.mutants.near import files_with_tests
from tests.mutants.sites import mutants_of

SAMPLE_COUNT = 200
TEXT = '''
AGE_MAX = 120

def first(ages: list[int]) -> int | None:
    """Not a place for a bug: 1 < 2."""
    for age in [old for old in ages if 0 < old <= AGE_MAX]:
        if age >= 18 and not age == 99:
            return age + 1
    try:
        print("é", min(ages))
    except (OSError, ValueError):
        raise
    return None

class Kept:
    def keep(self, age):
        self.age = age
'''


def test_each_bug_changes_one_thing_and_leaves_a_program() -> None:
    planted = {mutant.applied(TEXT).strip() for mutant in mutants_of(Source("bus/a.py", TEXT))}
    lines = {line.strip() for text in planted for line in text.splitlines()} - {line.strip() for line in TEXT.splitlines()}
    assert lines == {
        "if (not ((age >= 18 and not age == 99))):",
        "if ((age >= 18) or (not age == 99)):",
        "if age > 18 and not age == 99:",
        "if age >= 18 and bool(age == 99):",
        "if age >= 18 and not age != 99:",
        "if age >= 19 and not age == 99:",
        "if age >= 18 and not age == 100:",
        "return None",
        "return (age - 1)",
        "return age + 2",
        "for age in [old for old in ages if 0 <= old <= AGE_MAX]:",
        "for age in [old for old in ages if 0 < old < AGE_MAX]:",
        "for age in [old for old in ages if 1 < old <= AGE_MAX]:",
        "for age in [old for old in ages if (not (0 < old <= AGE_MAX))]:",
        "pass",
        'print("é", max(ages))',
        "except ((), ValueError):",
        "except (OSError, ()):",
    } - {line.strip() for line in TEXT.splitlines()}


def test_no_moment_is_another() -> None:
    planted = {mutant.after for mutant in mutants_of(Source("a.py", "while loop.time() < deadline:\n    wait(1 < 2)"))}
    assert planted == {"(not (loop.time() < deadline))", "pass", "1 <= 2", "2", "3"}


def test_a_bug_knows_what_runs_it() -> None:
    scopes = {mutant.before: mutant.scope for mutant in mutants_of(Source("bus/a.py", TEXT))}
    assert (scopes["age + 1"], scopes["self.age = age"]) == ("first", "Kept.keep")
    scopes = {
        one.before: one.scope for one in mutants_of(Source("a.py", "def f(a=1):\n    def g():\n        return 2\n    return 3"))
    }
    assert scopes == {"1": "", "2": "f.<locals>.g", "3": "f"}


def test_what_is_called_harmless_is_still_there() -> None:
    places = {(one.path, one.before, one.after) for source in room_sources() for one in mutants_of(source)}
    assert [one for one in HARMLESS if (one.path, one.before, one.after) not in places] == []


def test_the_tests_that_run_a_room_may_notice() -> None:
    assert {"tests/unit/test_shop_order.py", "tests/contract/test_bus.py", "examples/counter.py"} < set(files_with_tests())


def test_a_bug_in_any_room_is_a_program() -> None:
    places = [(mutant, source.text) for source in room_sources() for mutant in mutants_of(source)]
    for mutant, text in Random(0).sample(places, SAMPLE_COUNT):
        ast.parse(mutant.applied(text))


def test_what_a_test_leaves_running_is_ended(tmp_path: Path) -> None:
    """A bug may be that it does; the next bug's tests would have less of the machine."""
    copy = Copy(tmp_path, {})
    told = tmp_path / "left"
    copy.write(
        "tests/unit/test_left.py",
        "import pathlib, subprocess, sys\n\n\ndef test_left():\n"
        "    process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        f"    pathlib.Path({str(told)!r}).write_text(str(process.pid))\n",
    )
    assert copy.failed(["tests/unit/test_left.py"], 60.0) is None
    deadline = time.monotonic() + 10.0
    while (is_left := is_running(told.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_left


def is_running(pid: str) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()  # of what has ended and nobody waits for, it is empty
    except FileNotFoundError:
        return False
