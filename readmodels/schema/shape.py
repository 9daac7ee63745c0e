"""A view's identity: what has to stay the same for a stored generation of its rows to stay in use.

Kept beside every generation, and compared as text, for ever. What is as by default (version 1 of an event, asynchronous, no
revision) is left out of it. The store is not in it: a generation is looked for where the view's rows are kept now.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import msgspec

from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.kernel.messages import Event, tag_of
from twofold.kernel.rows import Found, Query, Row, RowPage, Search
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.query import CheckedQuery, checked_query
from twofold.readmodels.schema.searching import CheckedSearch, checked_search

INLINE = "inline"
COMPOUNDS = "compounds "
TEXT = "text "
INDEXED = "indexed"
"""Marks what a search index holds, of which SQL has the checkpoints; in place of a view's store, too, and the last mark."""
VIEWS_MAX = 1_000
"""Whose shapes are kept in memory: they are asked for every second, and take half a millisecond each."""
MARKS = 5
"""So many parts of a shape come before what is not as by default; parts are separated by bars."""


def is_marked(shape: str) -> bool:
    return len(shape.split("|")) > MARKS


def is_inline(shape: str) -> bool:
    """Whether a generation of this shape is folded inline."""
    return INLINE in shape.split("|")[MARKS:]


def is_indexed(shape: str) -> bool:
    return shape.endswith(f"|{INDEXED}")


@lru_cache(maxsize=VIEWS_MAX)
def shape_of(view: AnyView) -> str:
    """Fields, declared questions, the events listened to with their versions, because rows that never saw the past of an event
    would be wrong for ever; who folds them, because two would fold an event twice, or each leave it to the other; the revision,
    for what cannot be seen from outside: a changed `evolve` or `keys`; compounds and searched fields, where there are any."""
    fields = ",".join(f"{column.name}:{column.type}{'?' * column.is_nullable}" for column in Columns(view).all)
    events = ",".join(sorted(_versioned(event) for event in view.on))
    marks = [INLINE] if view.sync == "inline" else []
    if view.revision:
        marks.append(f"revision {view.revision}")
    if view.compounds:
        marks.append(COMPOUNDS + ",".join(sorted({"+".join(compound) for compound in view.compounds})))
    if view.text:
        marks.append(TEXT + ",".join(sorted(view.text)))
    if str(view.store) == INDEXED:
        marks.append(INDEXED)
    return "|".join((view.key, fields, ",".join(sorted(view.indexes)), ",".join(sorted(view.orders)), events, *marks))


def _versioned(event: type[Event]) -> str:
    return tag_of(event) if event.schema_version == 1 else f"{tag_of(event)}@{event.schema_version}"


class Reading(NamedTuple):
    """Reads the rows of a view from a generation that another version of it made. `stored` is the view as that one has it,
    without the fields that this one does not read; `declared` has all that the other declares, also of fields unknown here."""

    view: AnyView
    stored: AnyView
    declared: AnyView

    def found(self, found: Found) -> Found:
        return found if found.row is None else msgspec.structs.replace(found, row=self._row(found.row))

    def page(self, page: RowPage) -> RowPage:
        return msgspec.structs.replace(page, rows=[self._row(row) for row in page.rows])

    def checked(self, columns: Columns, query: Query) -> CheckedQuery:
        """As checked_query, with the columns of what is stored. Raises Unavailable for a question that the view declares and the
        generation has no index for."""
        try:
            return checked_query(self.stored, columns, query)
        except Malformed as error:
            checked_query(self.view, Columns(self.view), query)
            raise building(self.view.name) from error

    def searched(self, columns: Columns, search: Search) -> CheckedSearch:
        """The same of a search. What was not written to be found cannot be searched for."""
        if set(self.view.text) - set(self.stored.text):
            raise building(self.view.name)
        try:
            return checked_search(self.stored, columns, search)
        except Malformed as error:
            checked_search(self.view, Columns(self.view), search)
            raise building(self.view.name) from error

    def _row(self, row: Row) -> Row:
        values = {name: getattr(row.value, name) for name in self.stored.row.__struct_fields__}
        return Row(row.key, self.view.row(**values), row.position)


def reading_of(view: AnyView, shape: str) -> Reading | None:
    """None for the view's own shape, which is read as it is. Raises Unavailable when the view's row cannot be made of what a
    generation of this shape holds: a field without a default is missing, or of another type."""
    if shape == shape_of(view):
        return None
    key, fields, indexes, orders, _, *marks = shape.split("|")
    held = set(fields.split(","))
    mine = {column.name: f"{column.name}:{column.type}{'?' * column.is_nullable}" for column in Columns(view).all}
    described = msgspec.structs.fields(view.row)
    if key != view.key or any(field.required and mine[field.name] not in held for field in described):
        raise building(view.name)
    shared = [(field.name, field.type) for field in described if mine[field.name] in held]
    names = {name for name, _ in shared}
    row = msgspec.defstruct(view.row.__name__, shared, frozen=True)
    compounds, text = (next((mark.removeprefix(one) for mark in marks if mark.startswith(one)), "") for one in (COMPOUNDS, TEXT))
    declared = replace(
        view,
        indexes=tuple(name for name in indexes.split(",") if name),
        orders=tuple(name for name in orders.split(",") if name),
        compounds=tuple(tuple(compound.split("+")) for compound in compounds.split(",") if compound),
        text=tuple(name for name in text.split(",") if name),
    )
    stored = replace(
        declared,
        row=row,
        indexes=tuple(name for name in declared.indexes if name in names),
        orders=tuple(name for name in declared.orders if name in names),
        compounds=tuple(compound for compound in declared.compounds if names.issuperset(compound)),
        text=tuple(name for name in declared.text if name in names),
    )
    return Reading(view, stored, declared)


def building(view: str) -> Unavailable:
    return Unavailable(Neighbour.ROWS, "view building", detail=view)
