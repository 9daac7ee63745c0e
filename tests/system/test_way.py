"""docs/the-way-of-a-command.md is what really runs, and the way is short: few files, each called from one room alone."""

from __future__ import annotations

import re

import pytest

from tests.way.__main__ import PAGE
from tests.way.page import page
from tests.way.walk import Leg, Visit, files_of, visits, walk

FILES_MAX = 45
SHARED = ("kernel", "database", "monitoring")
"""What every room may call: words, databases as such; and what counts stands between two rooms by its nature."""
STEP = re.compile(r"^## \d+\. (.+)$")
ROW = re.compile(r"^\| \[`([^`]+)`\]")


@pytest.fixture(scope="module")
def legs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Leg]:
    servers = request.getfixturevalue("servers")
    with servers.database("way") as url:
        return walk(url, servers.broker_url, "way", tmp_path_factory.mktemp("way"))


def test_the_page_tells_what_every_command_passes(legs: list[Leg]) -> None:
    """Renew it with `python -m tests.way`."""
    assert files_on(page(legs)) == files_on(PAGE.read_text())


def test_the_way_is_short(legs: list[Leg]) -> None:
    assert len(files_of(legs)) <= FILES_MAX


def test_no_file_on_the_way_is_called_from_two_rooms(legs: list[Leg]) -> None:
    crowded = {file: sorted(rooms) for file, rooms in files_of(legs).items() if len(rooms) > 1 and not file.startswith(SHARED)}
    assert crowded == {}


def test_what_ran_beside_a_single_command_is_left_out() -> None:
    calls = [
        (1, "a.py", "f", "bus"),
        (2, "b.py", "once", ""),
        (3, "a.py", "g", "bus"),
        (11, "a.py", "f", "bus"),
        (12, "a.py", "g", ""),
    ]
    assert visits(calls, [(0, 10), (10, 20)]) == (Visit("a.py", ("f", "g"), frozenset({"bus"})),)


def files_on(text: str) -> dict[str, list[str]]:
    """The files of each leg, sorted: two threads of a room may pass each other."""
    found: dict[str, list[str]] = {}
    leg = ""
    for line in text.splitlines():
        if step := STEP.match(line):
            leg = step.group(1)
        elif row := ROW.match(line):
            found.setdefault(leg, []).append(row.group(1))
    return {name: sorted(files) for name, files in found.items()}
