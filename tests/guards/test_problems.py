"""A problem's title and its detail stand on one line of the command line: none says what the other says."""

from __future__ import annotations

import ast
import re

from tests.guards.house import sources_below
from twofold.gateway.http.problem import PROBLEM_TYPES

WORD = re.compile(r"[\w-]{4,}")


def details(source: str) -> list[tuple[str, str]]:
    """(type, detail) of every problem made here with its text in place."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) > 1]
    made = [call.args[:2] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Problem"]
    texts = [(ast.unparse(kind), ast.unparse(text)) for kind, text in made if isinstance(text, ast.Constant | ast.JoinedStr)]
    return [(kind.strip("'"), text.lstrip("f").strip("'\"")) for kind, text in texts if kind.startswith("'")]


def says_it_again(title: str, detail: str) -> bool:
    """Holds all of the title, or nothing but its words."""
    said = set(WORD.findall(title.lower()))
    return title.lower() in detail.lower() or ("{" not in detail and set(WORD.findall(detail.lower())) <= said)


def test_no_sentence_is_said_twice() -> None:
    found = [found for source in sources_below("gateway") for found in details(source.text)]
    assert len(found) > 20
    assert [(kind, detail) for kind, detail in found if says_it_again(PROBLEM_TYPES[kind].title, detail)] == []


def test_this_notices_a_sentence_that_is_said_twice() -> None:
    assert details("Problem('no-such-row', f'no {1}')\nProblem(kind, 'x')\nProblem('bug', why)") == [("no-such-row", "no {1}")]
    assert says_it_again("Nothing is parked under this name", "nothing is parked under this name; /parked lists what is")
    assert says_it_again("The view has not been rebuilt", "it has not been rebuilt yet")
    assert not says_it_again("There is no such view", "those there are: {', '.join(views)}")
