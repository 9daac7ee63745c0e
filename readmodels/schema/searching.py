"""From a search as a client wrote it to one that a store can answer (see query.py, which says what of it is declared).

A search counts all it finds, so it looks at all of it anyway: ranges of several fields, in whatever order, need no compound here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from twofold.kernel.errors import Malformed
from twofold.kernel.rows import Row, Search
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Column, Columns
from twofold.readmodels.schema.highlights import highlights
from twofold.readmodels.schema.query import CheckedQuery, Span, checked_query, cursor_text, opened_score
from twofold.readmodels.schema.words import Term, terms_of

TERMS_MAX = 32
"""Words in one question."""
FACET_VALUES_MAX = 100
"""The most frequent ones of a field are counted."""
SCORE = "_score"


@dataclass(frozen=True, slots=True)
class CheckedSearch:
    """`terms` all have to occur; None: nothing is searched for, () finds nothing. `query` has what else has to hold, and the
    order unless it `is_by_score`, best first, ties by ascending key. `after` is (order value or score, key)."""

    view: AnyView
    terms: tuple[Term, ...] | None
    query: CheckedQuery
    is_by_score: bool
    after: tuple[Any, str] | None
    facets: tuple[Column, ...]
    is_highlighted: bool

    @property
    def spans(self) -> tuple[Span, ...]:
        return (*([self.query.span] if self.query.span else []), *self.query.beside)

    def cursor(self, row: Row, score: float | None) -> str:
        """What continues after this row."""
        return cursor_text(SCORE, True, score, row.key) if self.is_by_score else self.query.cursor(row)

    def is_met_by(self, word: str) -> bool:
        return any(term.is_met_by(word) for term in self.terms or ())

    def highlights(self, values: list[msgspec.Struct]) -> list[dict[str, list[str]]]:
        """Of these rows, where the words themselves say what was found."""
        return highlights(self.view, values, self.is_met_by) if self.is_highlighted else [{} for _ in values]


def checked_search(view: AnyView, columns: Columns, search: Search) -> CheckedSearch:
    """Raises Malformed, as checked_query does; for a facet that is no index, with those that are; for too many words."""
    if not view.text:
        raise Malformed(f"{view.name} is not a view to be searched", "/q")
    terms = terms_of(search.q) if search.q.strip() else None
    if terms is not None and len(terms) > TERMS_MAX:
        raise Malformed(f"q has more than {TERMS_MAX} words", "/q")
    is_by_score = terms is not None and search.order is None
    asked = msgspec.structs.replace(search, cursor=None)
    query = checked_query(view, columns, asked, is_walked=True)
    if is_by_score:
        after = None if search.cursor is None else opened_score(SCORE, search.cursor)
        query = replace(query, order=None, descending=False)
    else:
        after = checked_query(view, columns, msgspec.structs.replace(search, ranges=(), order=_name(query, columns))).after
    return CheckedSearch(view, terms, query, is_by_score, after, _facets(view, columns.by_name, search.facets), search.highlight)


def facet_text(value: Any) -> str:
    """A value as one asks for it."""
    return str(value).lower() if isinstance(value, bool) else str(msgspec.to_builtins(value))


def _name(query: CheckedQuery, columns: Columns) -> str:
    return (query.order or columns.key).name


def _facets(view: AnyView, columns: Mapping[str, Column], names: tuple[str, ...]) -> tuple[Column, ...]:
    for name in names:
        if name not in view.indexes:
            raise Malformed(f"there is no facet {name!r}; declared: {', '.join(view.indexes) or 'none'}", "/facets")
    return tuple(columns[name] for name in dict.fromkeys(names))
