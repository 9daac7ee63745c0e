"""The domain whose installations release 0.1.0 made: three views, folded alike and kept differently. Beside it, what it left
in PostgreSQL and Redis, in SQLite's two files, and the rows that its gateway answered with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from twofold import About, Command, Decider, Event, Rejected, View

LIMIT, BUG = 1_000, 13


class Count(Command, frozen=True):
    tally_id: str
    by: int = 1
    colour: str = "blue"


class Counted(Event, frozen=True):
    tally_id: str
    by: int
    colour: str


class Tally(msgspec.Struct, frozen=True):
    tally_id: str
    count: int
    colour: str
    counted_at: datetime
    steps: tuple[int, ...] = ()


def decide(count: int, command: Count) -> list[Counted]:
    if command.by == BUG:
        raise RuntimeError("a decider with a bug")
    if count + command.by > LIMIT:
        raise Rejected("too-many", count=count, limit=LIMIT)
    return [Counted(command.tally_id, command.by, command.colour)] if command.by else []


def show(row: Tally | None, event: Counted, about: About) -> Tally:
    steps = (*(row.steps if row else ()), event.by)
    return Tally(event.tally_id, sum(steps), event.colour, about.recorded_at, steps)


def view(name: str, **kept: Any) -> View[Tally, Counted]:
    def keys(event: Counted, about: About) -> tuple[str]:
        return (event.tally_id,)

    return View(name, "tally_id", Tally, (Counted,), keys, show, indexes=("colour",), orders=("count",), **kept)


TALLY = Decider("tally", "tally_id", (Count,), (Counted,), 0, decide, lambda count, event: count + event.by)
DECIDERS = (TALLY,)
VIEWS = (view("tallies"), view("fast", store="redis"), view("strong", sync="inline"))
