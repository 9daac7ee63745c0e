"""The page's example of a process and examples/bills.py are one: who mends one of them mends both."""

from __future__ import annotations

from tests.guards.blocks import blocks
from tests.guards.house import ROOT
from tests.packaging.page import definitions

FILES = tuple(f"# {name}.py\n" for name in ("bills", "test_bills"))


def defined(text: str) -> set[str]:
    lines = text.splitlines()
    return {"\n".join(lines[first - 1 : last]) for _, first, last in definitions(text)}


def test_the_page_shows_the_example_as_it_is() -> None:
    page = [block.text for block in blocks((ROOT / "docs" / "write-a-domain.md").read_text()) if block.text.startswith(FILES)]
    shown = {one for text in page for one in defined(text)}
    assert shown == defined((ROOT / "examples" / "bills.py").read_text())
