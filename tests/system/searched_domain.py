"""The gateway's tallies, to be searched."""

from __future__ import annotations

import msgspec

from tests.system.gateway_domain import TALLY, Counted, keys
from twofold.kernel.view import About, View


class FoundTally(msgspec.Struct, frozen=True):
    tally_id: str
    text: str
    colour: str
    count: int


def describe(row: FoundTally | None, event: Counted, about: About) -> FoundTally | None:
    if event.colour == "gone":
        return None
    count = (row.count if row else 0) + event.by
    return FoundTally(event.tally_id, f"Tally {event.tally_id} <{event.colour}>", event.colour, count)


SEARCHED = View(
    "searched",
    "tally_id",
    FoundTally,
    (Counted,),
    keys,
    describe,
    indexes=("colour",),
    orders=("count",),
    store="search",
    text=("text",),
)

DECIDERS, VIEWS = (TALLY,), (SEARCHED,)
