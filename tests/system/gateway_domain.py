"""A domain for the gateway's tests: tallies that count, refuse, explode, and poison their own row, when told to."""

from __future__ import annotations

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, View

LIMIT = 1_000
EXPLOSIVE = 13
POISON = 666
KEYLESS = 667
"""The view cannot say which rows such an event touches."""
RENAMED: dict[str, str] = {}
"""The view means other rows than these by now."""


class Count(Command, frozen=True):
    """Add to a tally."""

    tally_id: str
    by: int = 1
    colour: str = "blue"


class Clear(Command, frozen=True):
    """Sent by processes alone."""

    tally_id: str


class Counted(Event, frozen=True):
    tally_id: str
    by: int
    colour: str


class Tally(msgspec.Struct, frozen=True):
    tally_id: str
    count: int
    colour: str


class Bug(Exception):
    """What a domain's own mistake looks like."""


def decide(count: int, command: Count | Clear) -> list[Counted]:
    if isinstance(command, Clear):
        return [Counted(command.tally_id, -count, "blue")] if count else []
    if command.by == EXPLOSIVE:
        raise Bug("a decider with a bug")
    if count + command.by > LIMIT and command.by not in (POISON, KEYLESS):
        raise Rejected("too-many", count=count, limit=LIMIT)
    return [Counted(command.tally_id, command.by, command.colour)] if command.by else []


def show(row: Tally | None, event: Counted, about: About) -> Tally | None:
    if event.by == POISON:
        raise Bug("a view with a bug")
    if event.colour == "gone":
        return None
    return Tally(event.tally_id, (row.count if row else 0) + event.by, event.colour)


def keys(event: Counted, about: About) -> tuple[str]:
    if event.by == KEYLESS:
        raise Bug("a view that names no keys")
    return (RENAMED.get(event.tally_id, event.tally_id),)


TALLY = Decider[int, Count | Clear, Counted](
    "tally", "tally_id", (Count, Clear), (Counted,), 0, decide, lambda count, event: count + event.by, internal=(Clear,)
)
TALLIES = View(
    "tallies",
    "tally_id",
    Tally,
    (Counted,),
    keys,
    show,
    indexes=("colour",),
    orders=("count",),
)

DECIDERS, VIEWS = (TALLY,), (TALLIES,)
