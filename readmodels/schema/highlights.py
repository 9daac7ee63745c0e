"""Where a row has the words that were searched for: pieces of its texts, the words in <em>, everything else escaped.

Made of the rows of one page, when they are asked for; the stores keep words without their places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from html import escape

import msgspec

from twofold.kernel.view import AnyView
from twofold.readmodels.schema.words import cut, folded

PIECES_MAX = 3
"""Of one field."""
AROUND_CHARS = 60
"""So much text is shown before and behind a word."""
PLACES_MAX = 50
"""So many words of a field are marked."""
TEXT_CHARS_MAX = 500_000
"""Of one page: what comes behind is not looked at."""

_WORD = re.compile(r"[^\W_]+")

Place = tuple[int, int]


def highlights(view: AnyView, rows: Sequence[msgspec.Struct], is_met: Callable[[str], bool]) -> list[dict[str, list[str]]]:
    """For each row the fields in which words are met, with some pieces of each."""
    left, shown = TEXT_CHARS_MAX, []
    for row in rows:
        found = {}
        for name in view.text:
            text = str(getattr(row, name) or "")[:left]
            left -= len(text)
            if pieces := _pieces(text, _places(text, is_met)):
                found[name] = pieces
        shown.append(found)
    return shown


def _places(text: str, is_met: Callable[[str], bool]) -> list[Place]:
    """Of words in the text, as far as they are shown."""
    plain, starts = _mapped(text)
    found: list[Place] = []
    for word in _WORD.finditer(plain):
        if is_met(cut(word.group())):
            found.append((starts[word.start()], starts[word.end() - 1] + 1))
            if len(found) == PLACES_MAX:
                break
    return found


def _mapped(text: str) -> tuple[str, Sequence[int]]:
    """The text as words are taken from it, and where each of its characters comes from."""
    if text.isascii():
        return text.lower(), range(len(text))
    chars = [_folded(char) for char in text]
    return "".join(chars), [place for place, char in enumerate(chars) for _ in char]


_folded = lru_cache(maxsize=4_096)(folded)


def _pieces(text: str, places: Iterable[Place]) -> list[str]:
    pieces = []
    for start, end, marked in _stretches(places, len(text))[:PIECES_MAX]:
        at, shown = start, "…" * (start > 0)
        for begin, behind in marked:
            shown += f"{escape(text[at:begin])}<em>{escape(text[begin:behind])}</em>"
            at = behind
        pieces.append(shown + escape(text[at:end]) + "…" * (end < len(text)))
    return pieces


def _stretches(places: Iterable[Place], length: int) -> list[tuple[int, int, list[Place]]]:
    """From where to where, and what is marked in it; neighbours share one."""
    found: list[tuple[int, int, list[Place]]] = []
    for begin, behind in places:
        start, end = max(0, begin - AROUND_CHARS), min(length, behind + AROUND_CHARS)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end, [*found[-1][2], (begin, behind)])
        else:
            found.append((start, end, [(begin, behind)]))
    return found
