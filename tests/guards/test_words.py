"""Names say what a thing is. A name that would fit everything is refused, wherever a name is given."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.guards.house import Source, room_sources, sources_below

EMPTY_WORDS = {"handler", "manager", "service", "util", "helper", "base", "common", "misc", "stuff", "processor"}
PLURALS = {f"{word}s" for word in EMPTY_WORDS}


def violations(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        for part in source.module.split("."):
            found += [f"{source.path} is called {part}"] if is_empty(part) else []
        found += [f"{source.path}:{line} calls something {name}" for line, name in given_names(source.tree) if is_empty(name)]
    return found


def given_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every class, function, parameter and assigned variable or attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def is_empty(name: str) -> bool:
    """Whether one of the words of a snake_case or CamelCase name is among the refused ones."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return any(word.lower() in EMPTY_WORDS | PLURALS for word in words)


def test_no_name_is_an_empty_word() -> None:
    assert (
        violations([*room_sources(), *(source for folder in ("tests", "bench", "examples") for source in sources_below(folder))])
        == []
    )


def test_the_guard_sees_empty_words_in_every_place_a_name_is_given() -> None:
    planted = [
        Source("bus/utils.py", ""),
        Source("gateway/a.py", "class OrderHandler:\n    def base_url(self, service):\n        self.helper = manager = 1\n"),
        Source("gateway/b.py", "database = baseline = based_on = based = 1\n"),
    ]
    found = {line.rpartition(" ")[2] for line in violations(planted)}
    assert found == {"utils", "OrderHandler", "base_url", "service", "helper", "manager"}
