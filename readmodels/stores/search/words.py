"""The words of rows in SQL: one column more, an index of it, both written with the row.

    PostgreSQL: a tsvector and a GIN index. The words come as they are, so nothing of it depends on a language or an extension.
    SQLite: an FTS5 table with nothing but the index, which triggers keep; it finds rows by a number, so they have one.

Names are on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, Dialect, Integer, Text
from sqlalchemy.dialects.postgresql import TSVECTOR

from twofold.kernel.view import AnyView
from twofold.readmodels.schema.words import Term, searched_words

WORDS, NUMBER = "_words", "_number"
PLACE_MAX, PLACES_MAX = 16_383, 256
"""The last place that PostgreSQL knows in a row, and how many it keeps of a word."""


def has_numbers(view: AnyView, dialect: Dialect) -> bool:
    return bool(view.text) and dialect.name != "postgresql"


def columns(view: AnyView, dialect: Dialect) -> list[Column[Any]]:
    if not view.text:
        return []
    if dialect.name == "postgresql":
        return [Column(WORDS, TSVECTOR(), nullable=False)]
    return [Column(WORDS, Text(), nullable=False), Column(NUMBER, Integer, primary_key=True)]


def create(name: str, table: str, dialect: Dialect) -> list[str]:
    """DDL of the index, each statement harmless where it exists."""
    index = index_of(name)
    if dialect.name == "postgresql":
        return [f'CREATE INDEX IF NOT EXISTS "{index}" ON {table} USING gin ({WORDS})']
    # Every character that is not ASCII belongs to a word: they were parted before, by spaces.
    options = f"content='{name}', content_rowid='{NUMBER}', tokenize='ascii'"
    put = f'INSERT INTO "{index}" (rowid, {WORDS}) VALUES (new.{NUMBER}, new.{WORDS})'
    take = f'INSERT INTO "{index}" ("{index}", rowid, {WORDS}) VALUES (\'delete\', old.{NUMBER}, old.{WORDS})'
    acts = (
        ("put", f"INSERT ON {table}", put),
        ("taken", f"DELETE ON {table}", take),
        ("changed", f"UPDATE OF {WORDS} ON {table} WHEN old.{WORDS} <> new.{WORDS}", f"{take}; {put}"),
    )
    triggers = [f'CREATE TRIGGER IF NOT EXISTS "{index}_{act}" AFTER {when} BEGIN {what}; END' for act, when, what in acts]
    return [f'CREATE VIRTUAL TABLE IF NOT EXISTS "{index}" USING fts5({WORDS}, {options})', *triggers]


def drop(name: str, dialect: Dialect) -> list[str]:
    """What does not go with the table."""
    return [] if dialect.name == "postgresql" else [f'DROP TABLE IF EXISTS "{index_of(name)}"']


def written(view: AnyView, on_postgres: bool) -> Callable[[msgspec.Struct], str] | None:
    """What makes of a row what is written into the column; None where there is none."""
    if not view.text:
        return None
    kept = _vector if on_postgres else " ".join
    return lambda row: kept(searched_words(view, row))


def question(terms: Sequence[Term], on_postgres: bool) -> str:
    """As the index is asked: every term. Words hold letters and digits alone."""
    if on_postgres:
        return " & ".join(f"'{term.word}'{':*' * term.is_prefix}" for term in terms)
    return " AND ".join(f'"{term.word}"{" *" * term.is_prefix}' for term in terms)


def index_of(name: str) -> str:
    return f"{name}__words"


def _vector(words: Sequence[str]) -> str:
    """A tsvector as text."""
    places: dict[str, list[str]] = {}
    for place, word in enumerate(words, start=1):
        places.setdefault(word, []).append(str(min(place, PLACE_MAX)))
    return " ".join(f"'{word}':{','.join(found[:PLACES_MAX])}" for word, found in places.items())
