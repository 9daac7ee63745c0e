"""The ways there are through a view's rows, each in an order of its own, and which of them lead through the answer to a question.

    path      (): all rows by key; (a,): by a, then the key; (a, b): by a, then b, then the key
    walk      a path, of which the first few columns are fixed to what the question wants them to equal

A walk is ordered when what follows on its path is what the question is ordered by: then rows come as they are to be answered,
and the first page ends it. Which of several is the shortest, the store has to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Column, Columns
from twofold.readmodels.schema.query import CheckedQuery, Span

Path: TypeAlias = tuple[Column, ...]


class Walk(NamedTuple):
    """`number` is the path's place among all; the first `fixed_count` of its columns equal something. `equal` and `beside` has to
    be looked at in each row. `is_ordered`: its rows come in the order asked for, and its range bounds it; `rest` is what
    ties are broken by before the key is."""

    number: int
    path: Path
    fixed_count: int
    equal: tuple[tuple[Column, Any], ...]
    beside: tuple[Span, ...]
    is_ordered: bool
    rest: Path


def single_paths(view: AnyView, columns: Columns) -> list[Path]:
    """By key, and by each declared field."""
    names = sorted({*view.indexes, *view.orders} - {view.key})
    return [(), *((columns.by_name[name],) for name in names)]


def compounds_of(view: AnyView, columns: Columns) -> list[Path]:
    """Those that are declared, in an order that does not depend on how they are written down."""
    return [tuple(columns.by_name[name] for name in compound) for compound in sorted(set(view.compounds))]


def ordered_walks(paths: Sequence[Path | None], query: CheckedQuery) -> list[Walk]:
    """Those in the very order asked for that leave the fewest columns to be looked at; there is one at least."""
    walks = [walk for walk in all_walks(paths, query) if walk.is_ordered and not walk.rest]
    most = max(walk.fixed_count for walk in walks)
    return [walk for walk in walks if walk.fixed_count == most]


def all_walks(paths: Sequence[Path | None], query: CheckedQuery) -> list[Walk]:
    """One on each path that there is, also those through everything in another order."""
    wanted = dict(query.equal)
    left = () if query.order is None or query.order in wanted else (query.order,)
    walks = []
    for number, path in enumerate(paths):
        if path is None:
            continue
        fixed_count = next((place for place, column in enumerate(path) if column not in wanted), len(path))
        equal = tuple((column, value) for column, value in query.equal if column not in path[:fixed_count])
        following, rest = path[fixed_count : fixed_count + len(left)], path[fixed_count + len(left) :]
        is_ordered = following == left and (bool(left) or not rest)
        beside = query.beside if is_ordered or query.span is None else (query.span, *query.beside)
        walks.append(Walk(number, path, fixed_count, equal, beside, is_ordered, rest))
    return walks
