"""A view's identity: what has to stay the same for a stored generation of its rows to stay in use.

Kept beside every generation, and compared as text, for ever. What is as by default (version 1 of an event, asynchronous, no
revision) is left out of it. The store is not in it: a generation is looked for where the view's rows are kept now.
"""

from __future__ import annotations

from twofold.kernel.messages import Event, tag_of
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns

INLINE = "inline"
MARKS = 5
"""So many parts of a shape come before what is not as by default; parts are separated by bars."""


def shape_of(view: AnyView) -> str:
    """Fields, declared questions, the events listened to with their versions, because rows that never saw the past of an event
    would be wrong for ever; who folds them, because two would fold an event twice, or each leave it to the other; and the
    revision, for what cannot be seen from outside: a changed `evolve` or `keys`."""
    fields = ",".join(f"{column.name}:{column.type}{'?' * column.is_nullable}" for column in Columns(view).all)
    events = ",".join(sorted(_versioned(event) for event in view.on))
    marks = [INLINE] if view.sync == "inline" else []
    if view.revision:
        marks.append(f"revision {view.revision}")
    return "|".join((view.key, fields, ",".join(sorted(view.indexes)), ",".join(sorted(view.orders)), events, *marks))


def _versioned(event: type[Event]) -> str:
    return tag_of(event) if event.schema_version == 1 else f"{tag_of(event)}@{event.schema_version}"
