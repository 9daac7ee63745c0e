"""A search through rows in memory, word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from twofold.kernel.rows import Row, SearchPage
from twofold.readmodels.schema.columns import Column
from twofold.readmodels.schema.query import Span
from twofold.readmodels.schema.searching import FACET_VALUES_MAX, CheckedSearch, facet_text
from twofold.readmodels.schema.words import searched_words


def search(rows: Sequence[Row], asked: CheckedSearch, position: int, has_parked: bool) -> SearchPage:
    rows = [row for row in rows if all(plain(column, row) == value for column, value in asked.query.equal)]
    rows = [row for row in rows if all(is_in(span, plain(span.column, row)) for span in asked.spans)]
    scores = {row.key: _score(row, asked) for row in rows}
    rows = [row for row in rows if asked.terms is None or scores[row.key]]
    order = asked.query.order

    def place(row: Row) -> tuple[Any, ...]:
        if asked.is_by_score:
            return (-(scores[row.key] or 0), row.key.encode())
        return anchor(None if order is None else plain(order, row), row.key)

    rows.sort(key=place, reverse=asked.query.descending)
    behind = rows
    if asked.after is not None:
        after = (-asked.after[0], asked.after[1].encode()) if asked.is_by_score else anchor(*asked.after)
        behind = [row for row in rows if (place(row) < after if asked.query.descending else place(row) > after)]
    page = behind[: asked.query.limit]
    return SearchPage(
        rows=page,
        next=asked.cursor(page[-1], scores[page[-1].key]) if len(behind) > len(page) else None,
        position=position,
        has_parked=has_parked,
        total=len(rows),
        facets={column.name: _counted(column, rows) for column in asked.facets},
        scores=[scores[row.key] for row in page],
        highlights=asked.highlights([row.value for row in page]),
    )


def plain(column: Column, row: Row) -> Any:
    return column.encode(getattr(row.value, column.name))


def is_in(span: Span, value: Any) -> bool:
    return value is not None and (span.start is None or value >= span.start) and (span.end is None or value < span.end)


def anchor(value: Any, key: str) -> tuple[Any, ...]:
    """Sorts as every store does: absent values first, texts by their bytes, ties by the key."""
    sortable = value.encode() if isinstance(value, str) else value
    return (value is not None, sortable if value is not None else 0, key.encode())


def _score(row: Row, asked: CheckedSearch) -> float | None:
    """How much of its words is what was asked for; 0 unless every term is met."""
    if asked.terms is None:
        return None
    words = searched_words(asked.view, row.value)
    counts = [sum(term.is_met_by(word) for word in words) for term in asked.terms]
    return sum(counts) / len(words) if counts and all(counts) else 0.0


def _counted(column: Column, rows: Sequence[Row]) -> dict[str, int]:
    values = Counter(facet_text(getattr(row.value, column.name)) for row in rows if plain(column, row) is not None)
    return dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:FACET_VALUES_MAX])
