"""docs/client.md, done from its first line to its last by somebody who has only the wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guards.blocks import blocks
from tests.guards.house import ROOT
from tests.packaging.environment import Environment
from tests.packaging.page import FILE, Reader
from twofold import client

PAGE = ROOT / "docs" / "client.md"
CLOSED = """
from contextlib import aclosing, closing

from twofold.client import AsyncGateway, Gateway


def blocking(gateway: Gateway) -> None:
    with closing(gateway.events()) as events, closing(gateway.watch("v", "k")) as rows:
        print(next(events).position, next(rows))
    with closing(gateway.pages("v")) as pages, closing(gateway.bulk([])) as results:
        print(next(pages).items, next(results).index)


async def awaited(gateway: AsyncGateway) -> None:
    async with aclosing(gateway.events()) as events, aclosing(gateway.watch("v", "k")) as rows:
        print((await anext(events)).position, await anext(rows))
    async with aclosing(gateway.pages("v")) as pages, aclosing(gateway.bulk([])) as results:
        print((await anext(pages)).items, (await anext(results)).index)
"""


@pytest.fixture
def reader(installed: Environment, tmp_path: Path, unique: str) -> Iterator[Reader]:
    reader = Reader(installed, tmp_path, {}, unique)
    try:
        yield reader
    finally:
        reader.stop()


def test_every_block_of_the_page_works_and_prints_what_is_shown(reader: Reader) -> None:
    reader.follow(PAGE.read_text())


def test_every_program_of_the_page_passes_strict_type_checking(installed: Environment, tmp_path: Path) -> None:
    """A page that recommends `mypy --strict` elsewhere shows what it finds nothing in; `closing` and `aclosing` included."""
    (tmp_path / "closed.py").write_text(CLOSED)
    for block in blocks(PAGE.read_text()):
        if block.language == "python" and (named := FILE.match(block.text)):
            (tmp_path / named.group(1)).write_text(block.text)
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert {"awaited.py", "closed.py", "follow.py"} <= set(files)
    assert installed.run(tmp_path, "python", "-m", "mypy", "--strict", "--no-error-summary", *files).stdout == ""


def test_every_call_and_every_error_is_on_the_page() -> None:
    """What a client can do and nobody reads of is not there."""
    page = PAGE.read_text()
    calls = {name for name in vars(client.Gateway) if not name.startswith("_") and name != "url"}
    errors = {name for name in client.__all__ if issubclass(getattr(client, name), Exception)}
    assert len(calls) > 9 and len(errors) > 6
    assert sorted(name for name in calls | errors if not re.search(rf"\b{name}\b", page)) == []


def test_the_wheel_has_the_client_with_its_types(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(
        "from twofold.client import AsyncGateway, Gateway\n\n\n"
        "def rows() -> int:\n    return Gateway('http://x').get('v', 'k').position\n\n\n"
        "async def wrong() -> str:\n    return await AsyncGateway('http://x').get('v', 'k')\n"
    )
    said = installed.run(tmp_path, "python", "-m", "mypy", "--strict", "--no-error-summary", "ask.py").stdout
    assert said.splitlines() == [
        'ask.py:9: error: Incompatible return value type (got "RowAnswer", expected "str")  [return-value]'
    ]
