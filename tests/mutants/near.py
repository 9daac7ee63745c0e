"""Which tests are near a bug: those that run the function it stands in, in their own process or in one they start.

Every test file runs once on a copy of the project without a bug, and must be green. The copy's package begins by recording each
function that is called, once a process and test: so gateways, workers and projectors that a test starts are seen too. What runs
while fixtures are made, and what is imported, is near every test of the file.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tests.guards.house import FLOOR_OF, tracked_files
from tests.mutants import marking
from tests.mutants.copied import Copy
from tests.mutants.marking import TESTS

FOLDERS = ("tests/unit/", "tests/contract/", "tests/system/", "tests/browser/", "examples/")
ALSO = "tests/guards/test_metrics.py"
LEFT_OUT = ("tests/system/test_way.py", "tests/unit/test_mutants.py")
"""These compare the code with a page or a list: they see that it changed, not that it is wrong."""
GREEN_SECONDS_MAX = 900
CALLS = "calls"
TRACER = """
import mmap as _mmap, os as _os, sys as _sys, threading as _threading

def _recorded(
    file=_os.open({calls!r}, _os.O_APPEND | _os.O_CREAT | _os.O_WRONLY),
    now=_mmap.mmap(_os.open({now!r}, _os.O_RDONLY), {size}, access=_mmap.ACCESS_READ),
    root={root!r},
):
    seen = {{}}
    last = [b""]

    def call(frame, event, argument):
        if now[:] != last[0]:
            seen.clear()
            last[0] = now[:]
        code = frame.f_code
        if id(code) not in seen:
            seen[id(code)] = code
            if code.co_filename.startswith(root):
                test = int(last[0]) if code.co_flags & 1 else 0  # a module's or a class' body is run for all that follows
                _os.write(file, f"{{test}} {{code.co_filename[len(root):]}}::{{code.co_qualname}}\\n".encode())

    return call

_threading.settrace(_recorded())
_sys.settrace(_recorded())
"""


class NearTest(msgspec.Struct):
    """One test: how long it takes, and the functions that run in it, by their place among those of its file."""

    name: str
    seconds: float
    functions: list[int]


class Near(msgspec.Struct):
    """A test file: how long it takes, and the functions it runs, each `path::qualified name`; `shared` are those that run for all
    of its tests, by their place."""

    path: str
    seconds: float
    functions: list[str]
    shared: list[int]
    tests: list[NearTest]


def files_with_tests() -> list[str]:
    files = [path for path in tracked_files() if path.startswith(FOLDERS) or path == ALSO]
    return [path for path in files if _is_test(path) and path not in LEFT_OUT]


def recorded(path: str, copy: Copy) -> tuple[str, Near | None, str | None]:
    """Runs this test file in a copy that `record_calls` has made; None, and why, when it is red."""
    folder = copy.root.parent
    failed: str | None = None
    for _ in range(2):  # what fails for the load of the machine is asked once more
        for name in (CALLS, TESTS):
            (folder / name).write_bytes(b"")
        begun = time.monotonic()
        failed = copy.failed([path], GREEN_SECONDS_MAX, "-p", marking.__name__)
        if failed is None:
            return path, _near(path, time.monotonic() - begun, folder), None
    return path, None, failed


def record_calls(copy: Copy) -> None:
    package, folder = "twofold/__init__.py", copy.root.parent
    marking.mark(folder, 0)
    tracer = TRACER.format(calls=str(folder / CALLS), now=str(folder / marking.NOW), size=marking.SIZE, root=f"{copy.root}/")
    copy.write(package, tracer + (copy.root / package).read_text())


def _near(path: str, seconds: float, folder: Path) -> Near:
    by_test: dict[int, set[str]] = {0: set()}
    for line in (folder / CALLS).read_text().splitlines():
        test, _, called = line.partition(" ")
        if (function := in_room(called)) is not None:
            by_test.setdefault(int(test), set()).add(function)
    functions = sorted(set().union(*by_test.values()))
    places = {function: place for place, function in enumerate(functions)}
    tests = []
    for line in (folder / TESTS).read_text().splitlines():
        number, took, name = line.split(" ", 2)
        tests.append(NearTest(name, float(took), sorted(places[function] for function in by_test.get(int(number), ()))))
    return Near(path, seconds, functions, sorted(places[function] for function in by_test[0]), tests)


def in_room(line: str) -> str | None:
    """`path::function` as the rooms know it, whether it was reached by a link or not; None for what is in no room."""
    path, _, function = line.partition("::")
    room, _, rest = path.removeprefix("twofold/").partition("/")
    inside = f"{room}/{rest}" if room in FLOOR_OF else path
    return f"{inside}::{function}" if inside.split("/", 1)[0] in FLOOR_OF else None


def _is_test(path: str) -> bool:
    return Path(path).name.startswith("test_") and path.endswith(".py") or path == "examples/counter.py"
