"""Which test files are near a bug: those that run the function it stands in, in their own process or in one they start.

Every test file runs once on a copy of the project without a bug, and must be green. The copy's package begins by recording each
function that is called, once a process: so gateways, workers and projectors that a test starts are seen too.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tests.guards.house import FLOOR_OF, tracked_files
from tests.mutants.copied import Copy

FOLDERS = ("tests/unit/", "tests/contract/", "tests/system/", "tests/browser/", "examples/")
ALSO = "tests/guards/test_metrics.py"
LEFT_OUT = ("tests/system/test_way.py", "tests/unit/test_mutants.py")
"""These compare the code with a page or a list: they see that it changed, not that it is wrong."""
GREEN_SECONDS_MAX = 900
TRACER = """
import os as _os, sys as _sys, threading as _threading

def _recorded(seen={{}}, file=_os.open({file!r}, _os.O_APPEND | _os.O_CREAT | _os.O_WRONLY), root={root!r}):
    def call(frame, event, argument):
        code = frame.f_code
        if id(code) not in seen:
            seen[id(code)] = code
            if code.co_filename.startswith(root):
                _os.write(file, f"{{code.co_filename[len(root):]}}::{{code.co_qualname}}\\n".encode())
    return call

_threading.settrace(_recorded())
_sys.settrace(_recorded())
"""


class Near(msgspec.Struct):
    """A test file: how long it takes, and the functions it runs, each `path::qualified name`."""

    path: str
    seconds: float
    functions: list[str]


def files_with_tests() -> list[str]:
    files = [path for path in tracked_files() if path.startswith(FOLDERS) or path == ALSO]
    return [path for path in files if _is_test(path) and path not in LEFT_OUT]


def recorded(path: str, copy: Copy) -> tuple[str, Near | None, str | None]:
    """Runs this test file in a copy that `record_calls` has made; None, and why, when it is red."""
    log = copy.root.parent / "calls"
    failed: str | None = None
    for _ in range(2):  # what fails for the load of the machine is asked once more
        log.write_bytes(b"")
        begun = time.monotonic()
        failed = copy.failed([path], GREEN_SECONDS_MAX)
        if failed is None:
            functions = {one for line in log.read_text().splitlines() if (one := _in_room(line)) is not None}
            return path, Near(path, time.monotonic() - begun, sorted(functions)), None
    return path, None, failed


def record_calls(copy: Copy) -> None:
    package = "twofold/__init__.py"
    tracer = TRACER.format(file=str(copy.root.parent / "calls"), root=f"{copy.root}/")
    copy.write(package, tracer + (copy.root / package).read_text())


def _in_room(line: str) -> str | None:
    path, _, function = line.partition("::")
    room, _, rest = path.removeprefix("twofold/").partition("/")
    inside = f"{room}/{rest}" if room in FLOOR_OF else path
    return f"{inside}::{function}" if inside.split("/", 1)[0] in FLOOR_OF else None


def _is_test(path: str) -> bool:
    return Path(path).name.startswith("test_") and path.endswith(".py") or path == "examples/counter.py"
