"""Tallies once more, in two versions: CHANGED=1 in the environment gives the view a field, an index, and a slow fold;
KEPT_IN says in which store its rows are."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from tests.system.gateway_domain import TALLY, Counted, keys
from twofold.kernel.view import About, View

IS_CHANGED = bool(os.environ.get("CHANGED"))
KEPT_IN: Any = os.environ.get("KEPT_IN", "sql")
FOLD_SECONDS = 0.0005
"""So the next generation is seen being built."""


class Tally(msgspec.Struct, frozen=True):
    tally_id: str
    count: int


class Rated(Tally, frozen=True):
    rating: str = "unrated"


def show(row: Tally | None, event: Counted, about: About) -> Tally:
    count = (row.count if row else 0) + event.by
    if not IS_CHANGED:
        return Tally(event.tally_id, count)
    time.sleep(FOLD_SECONDS)
    return Rated(event.tally_id, count, "many" if count > 5 else "few")


TALLIES = View[Tally, Counted](
    "tallies",
    "tally_id",
    Rated if IS_CHANGED else Tally,
    (Counted,),
    keys,
    show,
    indexes=("rating",) if IS_CHANGED else (),
    store=KEPT_IN,
)

DECIDERS, VIEWS = (TALLY,), (TALLIES,)
