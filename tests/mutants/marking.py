"""A plugin of pytest, where calls are recorded: it says which test is under way, to every process, and how long each took."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

FOLDER = "MUTANTS_FOLDER"
"""The variable that names the folder in which all of this is kept."""
NOW, TESTS = "now", "tests"
SIZE = 8
"""Bytes of the number of the test that is under way; 0 between tests, and while fixtures are made and ended."""

_numbers = count(1)


def mark(folder: Path, number: int) -> None:
    """In place: other processes look at the same bytes."""
    descriptor = os.open(folder / NOW, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, f"{number:0{SIZE}}".encode(), 0)
    os.close(descriptor)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    folder, number, begun = Path(os.environ[FOLDER]), next(_numbers), time.monotonic()
    mark(folder, number)
    try:
        yield
    finally:
        mark(folder, 0)
        with (folder / TESTS).open("a") as tests:
            tests.write(f"{number} {time.monotonic() - begun:.3f} {item.nodeid}\n")
