"""What a page of a view may be asked for, and the question that a request asks: parameters made from the view's declaration; and
what it is answered with.

?status=placed&placed_at.from=2010-12-01T00:00:00Z&placed_at.to=2011-01-01T00:00:00Z&order=-placed_at&limit=50
 index         range of an order: half open, either side may be left out
?q=white+heart*&facets=status,country&highlight=true&status=placed        of a view that is searched
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from twofold.gateway.http.operation import TEXT, TEXT_CHARS_MAX, Parameter
from twofold.gateway.http.request import LIMIT, HasQuery, Params, storable
from twofold.kernel.errors import Malformed
from twofold.kernel.rows import CURSOR_CHARS_MAX, Query, Range, RowPage, Search, SearchPage
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.query import bound_type

LIMIT_DEFAULT = 50
NAME_CHARS_MAX = 100
"""Of a parameter that nobody declared and that is told back."""

ORDER = Parameter("query", "order", "`-`: descending. If none is given, that of the range, or of the key.", {"type": "string"})
CURSOR = Parameter("query", "cursor", "`next` of the page before; not made by hand.", TEXT | {"maxLength": CURSOR_CHARS_MAX})
Q = Parameter(
    "query",
    "q",
    "Rows in which all these words occur; `lamp*`: one that begins so. The best come first, unless an order is given.",
    {"type": "string", "maxLength": TEXT_CHARS_MAX},
)
FACETS = Parameter("query", "facets", "Indexes, comma-separated, of whose values the rows found are counted.", TEXT)
HIGHLIGHT = Parameter("query", "highlight", "`true`: show where the words are.", {"type": "string", "enum": ["true", "false"]})
SEARCHES = (Q, FACETS, HIGHLIGHT)


class Declared(NamedTuple):
    """The parameters of one view: of equality, of ranges by field (from, to), and all of them, by name."""

    indexes: tuple[Parameter, ...]
    ranges: dict[str, tuple[Parameter, Parameter]]
    all: dict[str, Parameter]


def declared_by(view: AnyView) -> Declared:
    bounds = {column.name: bound_type(column) for column in Columns(view).all}
    types = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    indexes = dict.fromkeys((*view.indexes, view.key))
    orders = dict.fromkeys((*view.orders, *view.indexes, view.key))
    equal = tuple(Parameter("query", name, f"Only rows with this {name}.", types[name]) for name in indexes)
    ranges = {
        name: (
            Parameter("query", f"{name}.from", f"Only rows whose {name} is this or comes after it.", bounds[name]),
            Parameter("query", f"{name}.to", f"Only rows whose {name} comes before this.", bounds[name]),
        )
        for name in orders
    }
    order = ORDER._replace(schema={"type": "string", "enum": [sign + name for name in orders for sign in ("", "-")]})
    searches = SEARCHES if view.store == "search" else ()
    every = (*searches, *equal, *(bound for pair in ranges.values() for bound in pair), order, LIMIT, CURSOR)
    return Declared(equal, ranges, {one.name: one for one in every})


def query_of(request: HasQuery, view: AnyView, declared: Declared) -> Query:
    """Raises Malformed; for what is not declared, with what is."""
    is_search = view.store == "search"
    if not request.query:
        return Search(limit=LIMIT_DEFAULT) if is_search else Query(limit=LIMIT_DEFAULT)
    for name in request.query:
        if name not in declared.all:
            raise _undeclared(view, declared, storable("a parameter", name, NAME_CHARS_MAX))
    params = Params(request, *declared.all.values())
    order = params.text(ORDER)
    bounds = {name: (params.text(start), params.text(end)) for name, (start, end) in declared.ranges.items()}
    query = Query(
        where=tuple((index.name, value) for index in declared.indexes if (value := params.text(index)) is not None),
        ranges=tuple(Range(name, start, end) for name, (start, end) in bounds.items() if (start, end) != (None, None)),
        order=None if order is None else order.removeprefix("-"),
        descending=order is not None and order.startswith("-"),
        limit=params.number(LIMIT, LIMIT_DEFAULT),
        cursor=params.text(CURSOR, CURSOR_CHARS_MAX),
    )
    return _search(params, query) if is_search else query


def body_of(page: RowPage) -> dict[str, Any]:
    """As a client is sent it."""
    if not isinstance(page, SearchPage):
        return {"items": [row.value for row in page.rows], "next": page.next}
    items = [
        {**msgspec.to_builtins(row.value), "_score": score, "_highlights": shown}
        for row, score, shown in zip(page.rows, page.scores, page.highlights, strict=True)
    ]
    return {"items": items, "total": page.total, "facets": page.facets, "next": page.next}


def page_shape(view: AnyView) -> dict[str, Any]:
    """What `body_of` makes, described."""
    following: dict[str, Any] = {"next": {"type": ["string", "null"]}}
    if view.store != "search":
        items: dict[str, Any] = {"type": "array", "items": view.row}
        return {"type": "object", "required": ["items", "next"], "properties": {"items": items, **following}}
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    pieces = {"type": "array", "items": {"type": "string"}}
    beside = {
        "type": "object",
        "required": ["_score", "_highlights"],
        "properties": {
            "_score": {"type": ["number", "null"], "description": "Higher is better, within one answer."},
            "_highlights": {
                "type": "object",
                "additionalProperties": pieces,
                "description": "By field pieces of it, as HTML, with the words in `<em>`.",
            },
        },
    }
    found: dict[str, Any] = {
        "items": {"type": "array", "items": {"allOf": [view.row, beside]}},
        "total": {"type": "integer"},
        "facets": {"type": "object", "additionalProperties": counts},
    }
    return {"type": "object", "required": [*found, "next"], "properties": {**found, **following}}


def _search(params: Params, query: Query) -> Search:
    highlight = params.text(HIGHLIGHT)
    if highlight not in (None, *HIGHLIGHT.schema["enum"]):
        raise Malformed("highlight is true or false", "/highlight")
    asked = msgspec.structs.asdict(query)
    return Search(**asked, q=params.text(Q) or "", facets=tuple(params.texts(FACETS)), highlight=highlight == "true")


def _undeclared(view: AnyView, declared: Declared, name: str) -> Malformed:
    if name in declared.ranges:
        told = f"{name} is an order: ask for {name}.from and {name}.to"
    else:
        told = f"{view.name} has no index, order or parameter {name!r}"
    others = [*(SEARCHES if view.store == "search" else ()), ORDER, LIMIT, CURSOR]
    return Malformed(
        f"{told}; indexes: {_names(declared.indexes)};"
        f" ranges, each with .from and .to: {', '.join(declared.ranges)}; beside them: {_names(others)}",
        f"/{name}",
    )


def _names(parameters: Sequence[Parameter]) -> str:
    return ", ".join(parameter.name for parameter in parameters)
