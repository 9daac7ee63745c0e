"""docs/write-a-domain.md, done from its first line to its last by somebody who has only the wheel and the servers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.guards.blocks import blocks
from tests.guards.house import ROOT
from tests.packaging.environment import Environment
from tests.packaging.page import Reader, agrees, merged
from tests.servers.namespace import clean

PAGE = ROOT / "docs" / "write-a-domain.md"


@pytest.fixture
def reader(
    installed: Environment, tmp_path: Path, postgres_url: str, broker_url: str, redis_url: str, unique: str
) -> Iterator[Reader]:
    urls = {"TWOFOLD_DATABASE_URL": postgres_url, "TWOFOLD_BROKER_URL": broker_url, "TWOFOLD_REDIS_URL": redis_url}
    reader = Reader(installed, tmp_path, urls, unique)
    try:
        yield reader
    finally:
        reader.stop()
        clean(broker_url, redis_url, unique)


def test_every_block_of_the_page_works_and_prints_what_is_shown(reader: Reader, tmp_path: Path) -> None:
    """A page that teaches must be right to the letter: nobody who reads it can tell a slip from a truth."""
    reader.follow(PAGE.read_text(), {"dockerfile": lambda text: assert_it_fits_our_image(text, tmp_path)})


def assert_it_fits_our_image(text: str, folder: Path) -> None:
    """Three lines: the image that `docker build` made, as compose does, the module put where its process stands, its name."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-room"]["image"].partition(":")[0]
    ours = (ROOT / "Dockerfile").read_text()
    started, copied, named = text.strip().splitlines()
    assert started == f"FROM {image}"
    module = re.fullmatch(r"COPY (\w+)\.py \.", copied)
    assert module and (folder / f"{module.group(1)}.py").exists()
    assert named == f"ENV TWOFOLD_DOMAIN={module.group(1)}"
    assert re.search(r"^WORKDIR \S+\n+ENTRYPOINT \[\"twofold\"\]$", ours, re.MULTILINE), (
        "where the module goes, the process stands"
    )


def test_the_module_alone_in_a_folder_is_found_as_in_the_image(installed: Environment, reader: Reader, tmp_path: Path) -> None:
    for block in blocks(PAGE.read_text()):
        if block.language == "python":
            reader.write(block)
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(tmp_path / "library.py", folder)
    said = installed.run(folder, "twofold", "doctor", TWOFOLD_DOMAIN="library", COLUMNS="200").stdout
    assert "library: 2 commands, 2 events, 4 views" in said


def test_the_reader_puts_imports_on_top_and_definitions_in_the_place_of_their_names() -> None:
    text = '"""Doc."""\n\nimport a\n\nX = 1\n\n\ndef f():\n    return X\n'
    assert merged(text, "import b\n\nX = 2\n\n\nclass C:\n    pass\n") == (
        '"""Doc."""\n\nimport a\nimport b\n\nX = 2\n\n\ndef f():\n    return X\n\n\nclass C:\n    pass\n'
    )


def test_the_reader_sees_what_differs() -> None:
    assert agrees("a … c\n", "a b c") and agrees("…\n}", "1\n}")
    assert not agrees("a … c", "a b d") and not agrees("a … c", "a b\nc") and not agrees("a", "a\nb")
