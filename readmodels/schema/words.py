"""The words of a text, the same in every store: what is searched for finds what is written, however the two are spelt.

    "Crème-brûlée, 12 cm" ──> creme brulee 12 cm          q: "CREME cm*" ──> creme, and every word that begins with cm

A word is a run of letters and digits, in lower case and without accents. Stores are given words and nothing else, so whatever
else is in a question (quotes, operators, brackets) only parts them. What is on disk was made by these rules: changed ones need a
mark in a view's shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple
from unicodedata import category, normalize

import msgspec

from twofold.kernel.view import AnyView

WORD_BYTES_MAX = 64
"""What is longer is known by its beginning."""
WORDS_MAX = 10_000
"""So many of a row are found: PostgreSQL's tsvector ends at 1 MB."""

_WORD = re.compile(r"[^\W_]+")
_TERM = re.compile(r"([^\W_]+)(\*?)")


class Term(NamedTuple):
    """A word that has to occur; `is_prefix`: or one that begins so."""

    word: str
    is_prefix: bool = False

    def is_met_by(self, word: str) -> bool:
        return word.startswith(self.word) if self.is_prefix else word == self.word


def folded(text: str) -> str:
    """In lower case, without accents; as long as the text is where that is ASCII."""
    if text.isascii():
        return text.lower()
    return "".join([char for char in normalize("NFKD", text).casefold() if category(char)[0] != "M"])


def words_of(text: str) -> Iterator[str]:
    return (cut(found.group()) for found in _WORD.finditer(folded(text)))


def terms_of(question: str) -> tuple[Term, ...]:
    """Each once, in order."""
    found = (Term(cut(one.group(1)), bool(one.group(2))) for one in _TERM.finditer(folded(question)))
    return tuple(dict.fromkeys(found))


def searched_words(view: AnyView, row: msgspec.Struct) -> list[str]:
    """Of a row's searched fields, in the order of the declaration."""
    texts = (getattr(row, name) for name in view.text)
    return list(islice((word for text in texts if text for word in words_of(str(text))), WORDS_MAX))


def cut(word: str) -> str:
    """As it is kept."""
    if len(word) * 4 <= WORD_BYTES_MAX or len(word.encode()) <= WORD_BYTES_MAX:
        return word
    return word.encode()[:WORD_BYTES_MAX].decode(errors="ignore")
