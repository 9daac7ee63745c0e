"""The house as the guards see it: which room stands on which floor, and the sources of every room.

Sources are what is on the disk, read and parsed once a run; a guard's own test hands it a planted source instead.
"""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = (
    ("kernel",),
    ("database", "client"),
    ("shop", "eventstore", "bus", "monitoring", "subscriptions"),
    ("workers", "readmodels", "processes"),
    ("gateway",),
    ("twofold",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GIT_SECONDS_MAX = 30


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def room(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def module(self) -> str:
        """The name it is imported by: every room is a package below the roof's."""
        name = self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return f"twofold.{name}" if self.room in FLOOR_OF and self.room != "twofold" else name

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text)


def room_of(module: str) -> str | None:
    """The room a module belongs to; None for one that is not of the house."""
    top, _, rest = module.partition(".")
    if top != "twofold":
        return None
    below = rest.split(".", 1)[0]
    return below if below in FLOOR_OF else "twofold"


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def room_sources() -> tuple[Source, ...]:
    """Every Python file of every room, by path."""
    return tuple(source for room in FLOOR_OF for source in sources_below(room))


def sources_below(folder: str) -> list[Source]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def imports(source: Source) -> list[tuple[int, str]]:
    """(line, module) of everything a file imports, anywhere in it; relative imports are those of its own room."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.lineno, node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__"):
            found += [
                (node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
    return found


@cache
def tracked_files() -> tuple[str, ...]:
    """Paths under version control, and those that would be: new files that nothing ignores."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=GIT_SECONDS_MAX).stdout
    return tuple(path for path in listed.split("\0") if path and (ROOT / path).is_file())
