"""The bugs that `tests.mutants` plants: each is one change, and leaves a program."""

from __future__ import annotations

import ast
from random import Random

from tests.guards.house import Source, room_sources
from tests.mutants.sites import mutants_of

SAMPLE_COUNT = 200
TEXT = '''
def first(ages: list[int]) -> int | None:
    """Not a place for a bug: 1 < 2."""
    for age in ages:
        if age >= 18 and not age == 99:
            return age + 1
    print("é", min(ages))
    return None
'''


def test_each_bug_changes_one_thing_and_leaves_a_program() -> None:
    planted = {mutant.applied(TEXT).strip() for mutant in mutants_of(Source("bus/a.py", TEXT))}
    lines = {line.strip() for text in planted for line in text.splitlines()} - {line.strip() for line in TEXT.splitlines()}
    assert lines == {
        "if (not (age >= 18 and not age == 99)):",
        "if ((age >= 18) or (not age == 99)):",
        "if age > 18 and not age == 99:",
        "if age >= 18 and bool(age == 99):",
        "if age >= 18 and not age != 99:",
        "if age >= 19 and not age == 99:",
        "if age >= 18 and not age == 100:",
        "return None",
        "return (age - 1)",
        "return age + 2",
        "pass",
        'print("é", max(ages))',
    } - {line.strip() for line in TEXT.splitlines()}


def test_a_bug_in_any_room_is_a_program() -> None:
    places = [(mutant, source.text) for source in room_sources() for mutant in mutants_of(source)]
    for mutant, text in Random(0).sample(places, SAMPLE_COUNT):
        ast.parse(mutant.applied(text))
