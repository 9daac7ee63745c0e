"""Law 3: importing any module does nothing, and only the roof reads the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.guards.house import FLOOR_OF, ROOT, Source, imports, room_of, room_sources

PROBE_SECONDS_MAX = 120
NOT_IMPORTED = {"twofold.eventstore.migrations.env"}
"""alembic runs this file as a script, within a migration."""
ENVIRONMENT = {"os.environ", "os.getenv", "os.environb", "os.putenv"}


def probe(modules: Iterable[str], preload: Iterable[str], extra_path: Path | None = None) -> list[str]:
    command = [sys.executable, "-B", "-m", "tests.guards.import_probe", ",".join(preload), *modules]
    environment = {"PYTHONPATH": f"{ROOT}:{extra_path or ROOT}", "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS_MAX, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def foreign_modules(sources: Iterable[Source]) -> list[str]:
    """What the rooms import that is not theirs; a name taken from a package may be a module too."""
    named = {
        f"{node.module}.{alias.name}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    imported = {module for source in sources for _, module in imports(source)}
    return sorted(module for module in imported | named if room_of(module) is None)


def environment_readers(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        if source.room == "twofold":
            continue
        nodes = [node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute | ast.ImportFrom)]
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                names = {ast.unparse(node)}
            if names & ENVIRONMENT:
                found.append(f"{source.path}:{node.lineno}")
    return found


def test_importing_any_module_does_nothing() -> None:
    """Programs (`__main__`) are run, not imported."""
    modules = [source.module for source in room_sources() if source.module not in NOT_IMPORTED]
    modules = [module for module in modules if not module.endswith(".__main__")]
    assert len(modules) > len(FLOOR_OF)
    assert probe(modules, foreign_modules(room_sources())) == []


def test_only_the_roof_reads_the_environment() -> None:
    assert environment_readers(room_sources()) == []


@pytest.mark.parametrize(
    ("text", "deed"),
    [
        ("import socket\nsocket.socket().close()", "socket.__new__"),
        ("open('/dev/null', 'w').close()", "opens /dev/null"),
        ("import os\nHOME = os.environ.get('HOME')", "reads the variable HOME"),
        ("import threading\nthreading.Thread(target=threading.Event().wait, args=(9,), daemon=True).start()", "starts a thread"),
        ("print('hello')", "prints"),
    ],
)
def test_the_guard_sees_what_a_module_does_when_imported(tmp_path: Path, text: str, deed: str) -> None:
    (tmp_path / "planted.py").write_text(text + "\n")
    assert f"planted: {deed}" in probe(["planted"], ["socket", "threading"], tmp_path)


def test_the_guard_sees_who_reads_the_environment() -> None:
    planted = [
        Source("bus/a.py", "import os\n\ndef url():\n    return os.environ['URL']\n"),
        Source("shop/b.py", "from os import getenv\n"),
        Source("twofold/c.py", "import os\nx = os.environ\n"),
    ]
    assert environment_readers(planted) == ["bus/a.py:4", "shop/b.py:1"]
