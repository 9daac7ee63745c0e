"""A domain with two bugs, which are fixed as soon as the file named by JARS_FIXED exists.

The decider cannot count to 13; the view cannot show 66, and 67 not even when it is fixed.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, View

UNCOUNTABLE, UNSHOWABLE, NEVER_SHOWABLE = 13, 66, 67


class PutIn(Command, frozen=True):
    jar: str
    count: int


class Filled(Event, frozen=True):
    jar: str
    count: int


class JarRow(msgspec.Struct, frozen=True):
    jar: str
    total: int = 0
    counts: tuple[int, ...] = ()


def decide(total: int, command: PutIn) -> list[Filled]:
    if command.count == UNCOUNTABLE and not _is_fixed():
        raise ArithmeticError("thirteen is not a number")
    return [Filled(command.jar, command.count)]


def evolve_row(row: JarRow | None, event: Filled, about: About) -> JarRow:
    if event.count == NEVER_SHOWABLE or (event.count == UNSHOWABLE and not _is_fixed()):
        raise ValueError(f"{event.count} cannot be shown")
    row = row or JarRow(event.jar)
    return JarRow(event.jar, row.total + event.count, (*row.counts, event.count))


def _is_fixed() -> bool:
    return Path(os.environ["JARS_FIXED"]).exists()


JAR = Decider("jar", "jar", (PutIn,), (Filled,), 0, decide, lambda total, event: total + event.count)
JARS = View("jars", "jar", JarRow, (Filled,), lambda event, about: (event.jar,), evolve_row)

DECIDERS = (JAR,)
VIEWS = (JARS,)
