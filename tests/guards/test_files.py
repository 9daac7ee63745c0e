"""What is under version control: short files, nothing of the machine they were written on or of where packages came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.guards.house import ROOT, Source, room_sources, sources_below, tracked_files

LINES_MAX = 250
TEST_LINES_MAX = 400
"""A port's conformance suite is a list of promises, read one at a time."""
BINARY = (".gz", ".png", ".ico", ".woff2")
# In two pieces each, or this file would be the first to be found.
REGISTRIES = (
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "npm" + "js",
    "deb" + r"\.debian",
    "index" + r"-url\s+http",
)
PATHS = (r"(?<![\w.$}~-])/(?:" + "root|work|home/" + r"\w+|Users)/", "/tmp" + r"/[\w-]")
TRACES = re.compile("|".join((*REGISTRIES, *PATHS)))


def long_files(sources: Iterable[Source], lines_max: int = LINES_MAX) -> list[str]:
    return [f"{source.path}: {lines} lines" for source in sources if (lines := source.text.count("\n")) > lines_max]


def traces(path: str, text: str) -> list[str]:
    lines = enumerate(text.splitlines(), start=1)
    return [f"{path}:{number}: {match.group()}" for number, line in lines if (match := TRACES.search(line))]


def test_no_file_is_long() -> None:
    outside = [source for folder in ("bench", "examples") for source in sources_below(folder)]
    assert long_files([*room_sources(), *outside]) == []
    assert long_files(sources_below("tests"), TEST_LINES_MAX) == []


def test_no_file_tells_of_a_machine_or_a_registry() -> None:
    texts = [path for path in tracked_files() if not path.endswith(BINARY)]
    assert len(texts) > 50
    assert [line for path in texts for line in traces(path, (ROOT / path).read_text())] == []


def test_the_locks_pin_every_package_with_hashes() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        pins = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
        unpinned = [pin for pin in pins if not pin.startswith("#") and not re.match(r"\S+==\S+.*--hash=sha256:", pin, re.DOTALL)]
        assert unpinned == []


def test_the_guard_sees_long_files_machine_paths_and_registries() -> None:
    assert long_files([Source("bus/a.py", "x = 1\n" * (LINES_MAX + 1))]) == [f"bus/a.py: {LINES_MAX + 1} lines"]
    found = traces(
        "a", "see /" + "root/x\nsee /" + "tmp/x\nhttps://files.python" + "hosted.org/x\n/usr/bin/python3\nusers/home/x\n"
    )
    assert [line.split(":")[1] for line in found] == ["1", "2", "3"]
