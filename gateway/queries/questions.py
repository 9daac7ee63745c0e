"""What a page of a view may be asked for, and the question that a request asks: parameters made from the view's declaration.

?status=placed&placed_at.from=2010-12-01T00:00:00Z&placed_at.to=2011-01-01T00:00:00Z&order=-placed_at&limit=50
 index         range of an order: half open, either side may be left out
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from aiohttp import web

from twofold.gateway.http.operation import TEXT, Parameter
from twofold.gateway.http.request import LIMIT, Params
from twofold.kernel.errors import Malformed
from twofold.kernel.rows import CURSOR_CHARS_MAX, Query, Range
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.query import bound_type

LIMIT_DEFAULT = 50

ORDER = Parameter("query", "order", "`-`: descending. If none is given, that of the range, or of the key.", {"type": "string"})
CURSOR = Parameter("query", "cursor", "`next` of the page before; not made by hand.", TEXT | {"maxLength": CURSOR_CHARS_MAX})


class Declared(NamedTuple):
    """The parameters of one view: of equality, of ranges by field (from, to), and the names one may order by."""

    indexes: tuple[Parameter, ...]
    ranges: dict[str, tuple[Parameter, Parameter]]
    orders: tuple[str, ...]

    def parameters(self) -> tuple[Parameter, ...]:
        order = ORDER._replace(schema={"type": "string", "enum": [sign + name for name in self.orders for sign in ("", "-")]})
        return (*self.indexes, *(bound for pair in self.ranges.values() for bound in pair), order, LIMIT, CURSOR)


def declared_by(view: AnyView) -> Declared:
    bounds = {column.name: bound_type(column) for column in Columns(view).all}
    types = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    indexes = dict.fromkeys((*view.indexes, view.key))
    orders = tuple(dict.fromkeys((*view.orders, *view.indexes, view.key)))
    return Declared(
        tuple(Parameter("query", name, f"Only rows with this {name}.", types[name]) for name in indexes),
        {
            name: (
                Parameter("query", f"{name}.from", f"Only rows whose {name} is this or comes after it.", bounds[name]),
                Parameter("query", f"{name}.to", f"Only rows whose {name} comes before this.", bounds[name]),
            )
            for name in orders
        },
        orders,
    )


def query_of(request: web.Request, view: AnyView, declared: Declared) -> Query:
    """Raises Malformed; for what is not declared, with what is."""
    if not request.query:
        return Query(limit=LIMIT_DEFAULT)
    parameters = declared.parameters()
    known = {parameter.name for parameter in parameters}
    if any(name not in known for name in request.query):
        raise Malformed(
            f"{view.name} has no such index, order or parameter; indexes: {_names(declared.indexes)};"
            f" ranges, each with .from and .to: {', '.join(declared.ranges)}; beside them: order, limit, cursor"
        )
    params = Params(request, *parameters)
    order = params.text(ORDER)
    bounds = {name: (params.text(start), params.text(end)) for name, (start, end) in declared.ranges.items()}
    return Query(
        where=tuple((index.name, value) for index in declared.indexes if (value := params.text(index)) is not None),
        ranges=tuple(Range(name, start, end) for name, (start, end) in bounds.items() if (start, end) != (None, None)),
        order=None if order is None else order.removeprefix("-"),
        descending=order is not None and order.startswith("-"),
        limit=params.number(LIMIT, LIMIT_DEFAULT),
        cursor=params.text(CURSOR, CURSOR_CHARS_MAX),
    )


def _names(parameters: Sequence[Parameter]) -> str:
    return ", ".join(parameter.name for parameter in parameters)
