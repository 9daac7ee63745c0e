"""A domain in three versions, side by side: TALLIES_VERSION=2 has a command more, and a field more that need not be sent;
TALLIES_VERSION=3 is the first with an inline view more."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, View

VERSION = os.environ.get("TALLIES_VERSION", "1")


class Add(Command, frozen=True):
    tally: str
    by: int = 1


class AddLater(Command, frozen=True):
    tag = "Add"
    tally: str
    by: int = 1
    note: str | None = None


class Clear(Command, frozen=True):
    tally: str


class Moved(Event, frozen=True):
    tally: str
    total: int


class TallyRow(msgspec.Struct, frozen=True):
    tally: str
    total: int


def decide(total: int, command: Any) -> list[Moved]:
    return [Moved(command.tally, 0 if isinstance(command, Clear) else total + command.by)]


def show(row: TallyRow | None, event: Moved, about: About) -> TallyRow:
    return TallyRow(event.tally, event.total)


COMMANDS: tuple[type[Command], ...] = (AddLater, Clear) if VERSION == "2" else (Add,)
TALLY = Decider("tally", "tally", COMMANDS, (Moved,), 0, decide, lambda total, event: event.total)
TALLIES = View("tallies", "tally", TallyRow, (Moved,), lambda event, about: (event.tally,), show)

DECIDERS = (TALLY,)
VIEWS = (TALLIES, replace(TALLIES, name="tallies_now", sync="inline")) if VERSION == "3" else (TALLIES,)
