"""The types of the front reach whoever installs the wheel: a right domain passes mypy, mistakes are found in their lines."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.environment import Environment

DOMAINS = Path(__file__).with_name("domains")
MARK = re.compile(r"# expect: (.+)$")
ERROR = re.compile(r"^mistaken\.py:(\d+): error: ", re.MULTILINE)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the repository with both domains."""
    folder = tmp_path_factory.mktemp("outside")
    for file in DOMAINS.glob("*.py"):
        shutil.copy(file, folder)
    return folder


def checked(environment: Environment, folder: Path, file: str) -> str:
    return environment.run(folder, "python", "-m", "mypy", "--strict", "--no-error-summary", file).stdout


def test_a_domain_outside_the_repository_passes_strict_type_checking(installed: Environment, outside: Path) -> None:
    assert checked(installed, outside, "lending.py") == ""
    tested = installed.run(outside, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "lending.py")
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr


def test_every_mistake_is_found_in_its_line_and_nothing_else_is(installed: Environment, outside: Path) -> None:
    lines = (DOMAINS / "mistaken.py").read_text().splitlines()
    expected = {number: mark.group(1) for number, line in enumerate(lines, start=1) if (mark := MARK.search(line))}
    said = checked(installed, outside, "mistaken.py")
    found = {int(number) for number in ERROR.findall(said)}
    assert {"wrong event type", "wrong row type", "wrong command type"} <= set(expected.values())
    assert {"wrong return of decide", "wrong return of evolve", "wrong return of keys"} <= set(expected.values())
    assert {number: mark for number, mark in expected.items() if number not in found} == {}, said
    assert found - expected.keys() == set(), said
