"""The order of rows in Redis: one sorted set for each order one may ask for, whose members sort by their bytes.

    member = (value NUL)* key        path (): by key; (field): by field and key; (index, field): the same within an index value;
                                     and whatever compound of more fields the view declares

A question is answered from the members of one path, those between two bounds; what the path does not fix is looked up, row by
row, in the members of these fields' own paths.

A value becomes bytes that sort as it does (schema/sortable.py). All scores are 0, so Redis sorts by the members alone, and ties
are broken by the key. Neither values nor keys hold NUL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Column, Columns
from twofold.readmodels.schema.query import CheckedQuery
from twofold.readmodels.schema.sortable import bounds, sortable
from twofold.readmodels.schema.walks import Path, Walk, all_walks, ordered_walks


class Condition(NamedTuple):
    """`number`, from 1, of a member among a row's; it is not below `lowest`, and below `behind`."""

    number: int
    lowest: str
    behind: str


class Stretch(NamedTuple):
    """Of the path of this number the members from `lowest` to `highest`, as ZRANGEBYLEX wants them, that meet the conditions."""

    number: int
    lowest: str
    highest: str
    conditions: list[Condition]


def paths_of(view: AnyView) -> list[tuple[str, ...]]:
    """Every order one may ask for. A view's paths are part of its shape: their places in this list are on disk."""
    fields = sorted({*view.indexes, *view.orders} - {view.key})
    pairs = [(index, field) for index in fields if index in view.indexes for field in fields if field != index]
    paths: list[tuple[str, ...]] = [(), *((field,) for field in fields), *pairs]
    return paths + [compound for compound in sorted(set(view.compounds)) if compound not in paths]


def held_paths(paths: Sequence[Collection[str]], columns: Columns) -> list[Path | None]:
    """None for one whose fields are not all read here."""
    known = columns.by_name
    return [tuple(known[name] for name in path) if all(name in known for name in path) else None for path in paths]


def members_of(paths: Sequence[Path | None], key: str, value: msgspec.Struct) -> list[str]:
    """A row's member in each of these orders."""
    held = [path or () for path in paths]
    texts = {column.name: sortable(column, column.encode(getattr(value, column.name))) for path in held for column in path}
    return [b"".join(texts[column.name] + b"\0" for column in path).decode() + key for path in held]


def stretches_of(paths: Sequence[Path | None], key: Column, query: CheckedQuery) -> list[Stretch]:
    """Each of them holds the whole answer, in order."""
    if any(column is key for column, _ in query.equal):
        [everything] = [walk for walk in all_walks(paths, query) if not walk.path]
        rest = everything._replace(equal=tuple((column, value) for column, value in everything.equal if column is not key))
        return [Stretch(rest.number, *_one_key(dict(query.equal)[key], query), _conditions(paths, rest))]
    return [Stretch(walk.number, *_bounds(walk, query), _conditions(paths, walk)) for walk in ordered_walks(paths, query)]


def _bounds(walk: Walk, query: CheckedQuery) -> tuple[str, str]:
    fixed, ordered = walk.path[: walk.fixed_count], walk.path[walk.fixed_count :]
    wanted = dict(query.equal)
    within = b"".join(sortable(column, wanted[column]) + b"\0" for column in fixed)
    lowest, highest = (b"[" + within, b"(" + within[:-1] + b"\x01") if within else (b"-", b"+")
    if (span := query.span) is not None and ordered:
        start, behind = bounds(span)
        lowest, highest = b"[" + within + start, b"(" + within + behind
    elif span is not None:
        lowest = lowest if span.start is None else b"[" + within + span.start.encode()
        highest = highest if span.end is None else b"(" + within + span.end.encode()
    if query.after is not None:
        anchor, key = query.after
        last = b"(" + within + b"".join(sortable(column, anchor) + b"\0" for column in ordered) + key.encode()
        lowest, highest = (lowest, last) if query.descending else (last, highest)
    return lowest.decode(), highest.decode()


def _one_key(value: str, query: CheckedQuery) -> tuple[str, str]:
    """The bounds of one key, which let nothing through when a cursor is past it."""
    after = None if query.after is None else query.after[1].encode()
    is_past = after is not None and (value.encode() >= after if query.descending else value.encode() <= after)
    return ("(" if is_past else "[") + value, "[" + value


def _conditions(paths: Sequence[Path | None], walk: Walk) -> list[Condition]:
    equal = [(column, (sortable(column, value) + b"\0", sortable(column, value) + b"\x01")) for column, value in walk.equal]
    within = [*equal, *((span.column, bounds(span)) for span in walk.beside)]
    return [Condition(paths.index((column,)) + 1, lowest.decode(), behind.decode()) for column, (lowest, behind) in within]
