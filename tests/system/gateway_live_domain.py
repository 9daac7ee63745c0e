"""The gateway's tallies, and the same folded when they are asked for; and what was counted in a colour, found through them."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from tests.system.gateway_domain import TALLIES, TALLY, Counted
from twofold.kernel.view import About, AnyView, Through, View


class Colour(msgspec.Struct, frozen=True):
    colour: str
    count: int


def count(row: Colour | None, event: Counted, about: About) -> Colour:
    return Colour(event.colour, (row.count if row else 0) + event.by)


NOW: AnyView = replace(TALLIES, name="tallies_now", sync="live", streams=lambda tally_id: (f"tally-{tally_id}",))
COLOURS: AnyView = View(
    "colours",
    "colour",
    Colour,
    (Counted,),
    lambda event, about: (event.colour,),
    count,
    sync="live",
    through=(Through(TALLIES, "colour", lambda tally: (f"tally-{tally.tally_id}",)),),
)

DECIDERS, VIEWS = (TALLY,), (TALLIES, NOW, COLOURS)
