"""Code in Markdown: what a page tells its reader to run."""

from __future__ import annotations

import re
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TRAILING_COMMENT = re.compile(r"\s+#\s.*$")


class Block(NamedTuple):
    """A fenced block: its language ("" when none is given) and its text."""

    language: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*match.groups()) for match in FENCE.finditer(markdown)]


def shell_lines(block: Block) -> list[str]:
    """The commands of an `sh` block: continued lines joined, comments and prompts taken off."""
    joined = block.text.replace("\\\n", " ")
    lines = [TRAILING_COMMENT.sub("", line).strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
