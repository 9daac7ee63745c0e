"""A page that builds something up: its blocks, done by a reader who follows it to the letter.

A python block says in its first line which file it goes into: imports at the top, the rest at the end, or in the place of what
has the same name there. The lines of an `sh` block are typed one after the other; a room is left running until another block
starts one. A `text` block after it is what it printed, where `…` stands for anything.
"""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.guards.blocks import Block, blocks, shell_lines
from tests.packaging.environment import SECONDS_MAX, Environment
from tests.servers.server import free_port

READY_SECONDS_MAX = 60.0
FILE = re.compile(r"# (\w+\.py)\n")
ROOM = re.compile(r"twofold (up|gateway|workers|readmodels|processes)\b")
DONE_BEFORE = ("python -m venv ", ". .venv/", "pip install ")
"""What the environment is already."""


class Reader:
    """Follows a page in a folder. `replaced` are settings whose values on the page are examples, and what they are here."""

    def __init__(self, environment: Environment, folder: Path, replaced: Mapping[str, str], namespace: str) -> None:
        self._folder, self._replaced = folder, replaced
        self._port = free_port()
        self._variables = environment.variables(
            TWOFOLD_PORT=str(self._port), TWOFOLD_METRICS_PORT=str(free_port()), TWOFOLD_NAMESPACE=namespace
        )
        self._running: list[subprocess.Popen[bytes]] = []

    def follow(self, page: str, others: Mapping[str, Callable[[str], None]] | None = None) -> None:
        """The page's blocks, from the first to the last; `others` says what is done with those of other languages."""
        found = blocks(page)
        printed = ""
        for block, following in zip(found, [*found[1:], Block("", "")], strict=True):
            match block.language:
                case "python":
                    self.write(block)
                case "sh":
                    printed = self.type(block)
                    assert following.language == "text" or printed == "", f"{block.text}\n{printed}"
                case "text":
                    assert agrees(block.text, printed), f"shown\n{block.text}\nprinted\n{printed}"
                case language:
                    assert others and language in others, f"a block of {language!r} is not run by anybody"
                    others[language](block.text)

    def write(self, block: Block) -> None:
        named = FILE.match(block.text)
        assert named, f"says no file\n{block.text}"
        file = self._folder / named.group(1)
        text = self._here(block.text[named.end() :])
        file.write_text(merged(file.read_text(), text) if file.exists() else text)

    def type(self, block: Block) -> str:
        """What the lines of the block print."""
        printed = ""
        rooms = [line for line in shell_lines(block) if ROOM.match(line)]
        if rooms:
            self.stop()
        for line in shell_lines(block):
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self._variables[name] = self._replaced.get(name, value)
            elif line not in rooms and not line.startswith(DONE_BEFORE):
                printed += self._run(self._here(line))
        for line in rooms:
            self._start(line)
        if rooms:
            self._wait_until_ready()
        return printed

    def _here(self, text: str) -> str:
        """Where the page's gateway is in this folder."""
        return text.replace("localhost:8080", f"127.0.0.1:{self._port}")

    def stop(self) -> None:
        """Ctrl-C, in every terminal."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            process.wait(SECONDS_MAX)
        self._running.clear()

    def _run(self, line: str) -> str:
        ended = subprocess.run(
            ["sh", "-c", f"{{ {line}\n}} 2>&1"],
            cwd=self._folder,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        return ended.stdout if ended.stdout.endswith("\n") or not ended.stdout else ended.stdout + "\n"

    def _start(self, line: str) -> None:
        with (self._folder / "rooms.txt").open("ab") as said:
            self._running.append(subprocess.Popen(line.split(), cwd=self._folder, env=self._variables, stdout=said, stderr=said))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5).close()
                return
            except OSError as error:
                said = (self._folder / "rooms.txt").read_text()
                assert all(process.poll() is None for process in self._running), f"ended while starting\n{said}"
                assert time.monotonic() < deadline, f"not ready: {error}\n{said}"
                time.sleep(0.1)


def merged(text: str, block: str) -> str:
    """A file's text with a block's imports at its top, and its definitions at its end or in the place of their names."""
    lines = text.splitlines()
    source = block.splitlines()
    known = {name: (first, last) for name, first, last in definitions(text)}
    top = max(last for _, last in imports(text))
    replacing = [(top + 1, top, [line for first, last in imports(block) for line in source[first - 1 : last]])]
    appended: list[str] = []
    for name, first, last in definitions(block):
        if name in known:
            replacing.append((*known[name], source[first - 1 : last]))
        else:
            appended += ["", "", *source[first - 1 : last]]
    for first, last, new in sorted(replacing, reverse=True):
        lines[first - 1 : last] = new
    return "\n".join([*lines, *appended]) + "\n"


def definitions(text: str) -> list[tuple[str, int, int]]:
    """(name, first line, last line) of every class, function and assigned name at the top of a module."""
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.append((node.name, node.lineno, node.end_lineno or node.lineno))
        elif isinstance(node, ast.Assign):
            found.append((ast.unparse(node.targets[0]), node.lineno, node.end_lineno or node.lineno))
    return found


def imports(text: str) -> list[tuple[int, int]]:
    """(first line, last line) of every import at the top of a module."""
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [(node.lineno, node.end_lineno or node.lineno) for node in nodes]


def agrees(shown: str, printed: str) -> bool:
    """Whether this is what was printed; `…` stands for anything within a line."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip()) is not None
