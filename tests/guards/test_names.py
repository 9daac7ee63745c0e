"""One word, one meaning: a class name stands in one room; and every file that a docstring names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.guards.house import ROOT, Source, room_sources, sources_below

PATH = re.compile(r"(?<![\w./{])((?:[\w-]+/)*[\w-]+\.(?:py|md|lua|sql|yml|json|txt|html|js|css))\b")
FOLDER = re.compile(r"(?<![\w./{])((?:bench|docs|examples|tests|monitoring)/[\w/-]+\w)(?![\w/-]|\.\w)")
ELSEWHERE = {"log.db", "views.db", "appendix.html"}
"""Files of a deployment, and of other people's documentation."""


def shared_names(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Class names that stand in more than one room, with the files. A leading underscore is part of a name."""
    found: dict[str, list[Source]] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(source)
    return {
        name: sorted(source.path for source in where)
        for name, where in found.items()
        if len({source.room for source in where}) > 1
    }


def dead_paths(sources: Iterable[Source]) -> list[str]:
    """Paths named in docstrings and comments that lead nowhere: from the root, from the file's folder, or from its room."""
    found = []
    for source in sources:
        here = (ROOT / source.path).parent
        for line, text in told(source):
            named = {match.group(1) for match in (*PATH.finditer(text), *FOLDER.finditer(text))}
            for name in sorted(named - ELSEWHERE):
                if not any(is_there(place / name) for place in (ROOT, here, *folders_of(source.room))):
                    found.append(f"{source.path}:{line} names {name}")
    return found


@cache
def folders_of(room: str) -> tuple[Path, ...]:
    """The room's folder and those in it: a room's own docstrings speak of its files by their names."""
    folders = [path for path in (ROOT / room).rglob("*") if path.is_dir() and path.name != "__pycache__"]
    return (ROOT / room, *folders)


def is_there(path: object) -> bool:
    """A file or folder, or the beginning of one's name (a decision record by its number)."""
    place = ROOT / str(path)
    return place.exists() or any(place.parent.glob(f"{place.name}-*"))


def told(source: Source) -> Iterator[tuple[int, str]]:
    """Every docstring, and every string that stands alone below what it describes, and every comment, with its line."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for number, line in enumerate(source.text.splitlines(), start=1):
        if "# " in line:
            yield number, line.split("# ", 1)[1]


def test_no_class_name_stands_in_two_rooms() -> None:
    assert shared_names(room_sources()) == {}


def test_every_path_that_is_named_exists() -> None:
    outside = [source for folder in ("tests", "bench", "examples") for source in sources_below(folder)]
    assert dead_paths([*room_sources(), *(source for source in outside if not source.path.startswith("tests/guards"))]) == []


def test_the_guard_sees_a_name_in_two_rooms_and_a_path_that_leads_nowhere() -> None:
    planted = [
        Source("bus/a.py", '"""See bus/no_such.py and docs/decisions/0001."""\nclass Batch: ...\n'),
        Source("workers/b.py", "# as in a_file_nobody_wrote.md\nclass Batch: ...\nclass _Own: ...\n"),
        Source("bus/c.py", '"""See outbox.py and tests/no_such_folder."""\nclass _Own: ...\n'),
    ]
    assert shared_names(planted) == {"Batch": ["bus/a.py", "workers/b.py"]}
    assert dead_paths(planted) == [
        "bus/a.py:1 names bus/no_such.py",
        "workers/b.py:1 names a_file_nobody_wrote.md",
        "bus/c.py:1 names tests/no_such_folder",
    ]
