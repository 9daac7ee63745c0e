"""The architecture on one page can be read alone: every public function of a port says what it takes, gives and raises."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.guards.house import ROOT, Source

PORTS = "kernel/ports.py"
PAGES = (PORTS, "kernel/lanes.py", "kernel/counting.py")
SECONDS = ("second", "term")


def methods(source: Source) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef):
            for function in node.body:
                if isinstance(function, ast.FunctionDef):
                    yield f"{node.name}.{function.name}", function


def undocumented(source: Source) -> list[str]:
    """Functions without a docstring; parameters that are a time and do not end in its unit."""
    found = []
    for name, function in methods(source):
        if not ast.get_docstring(function):
            found.append(f"{name} says nothing")
        for parameter in (*function.args.args, *function.args.kwonlyargs):
            is_time = any(word in parameter.arg for word in SECONDS)
            if is_time and not parameter.arg.endswith(("_seconds", "_milliseconds")):
                found.append(f"{name}: {parameter.arg} has no unit")
    return found


def ports() -> list[Source]:
    return [Source(page, (ROOT / page).read_text()) for page in PAGES]


def test_every_function_of_a_port_says_what_it_promises() -> None:
    assert [one for page in ports() for one in undocumented(page)] == []


def test_every_function_that_gives_a_collection_tells_its_order_or_its_keys() -> None:
    """A list has an order or says that it has none; a mapping says by what it is keyed; an optional one says when it is None."""
    silent = []
    for name, function in (one for page in ports() for one in methods(page)):
        given, said = ast.unparse(function.returns) if function.returns else "", (ast.get_docstring(function) or "").lower()
        if given.startswith("list") and not any(word in said for word in ("order", "ascending", "by ")):
            silent.append(name)
        if given.startswith("dict") and not any(word in said for word in ("by ", " to ", ":", "of those", "entry", "with each")):
            silent.append(name)
        if "None" in given.removeprefix("Future[None]") and given != "None" and "none" not in said:
            silent.append(name)
        if given == "bool" and not any(word in said for word in ("whether", "false", "true")):
            silent.append(name)
    assert silent == []


def test_the_guard_sees_a_silent_function_and_a_time_without_a_unit() -> None:
    planted = Source(PORTS, "class Clock:\n    def now(self, seconds_left): ...\n")
    assert undocumented(planted) == ["Clock.now says nothing", "Clock.now: seconds_left has no unit"]
