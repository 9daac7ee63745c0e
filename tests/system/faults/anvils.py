"""A domain whose decider can be told to take its process with it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Literal

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, View

EXIT_STATUS = 7

How = Literal["tap", "kill", "exit", "abort", "never", "leave", "kill-row"]


class Strike(Command, frozen=True):
    anvil: str
    number: int
    how: How = "tap"


class Struck(Event, frozen=True):
    anvil: str
    number: int
    how: How = "tap"


class AnvilRow(msgspec.Struct, frozen=True):
    anvil: str
    numbers: tuple[int, ...] = ()


def decide(count: int, command: Strike) -> list[Struck]:
    if command.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if command.how == "exit":
        os._exit(EXIT_STATUS)
    if command.how == "leave":
        sys.exit("the anvil is gone")
    if command.how == "abort":
        os.abort()
    while command.how == "never":
        pass
    return [Struck(command.anvil, command.number, command.how)]


def evolve_row(row: AnvilRow | None, event: Struck, about: About) -> AnvilRow:
    return AnvilRow(event.anvil, (*(row.numbers if row else ()), event.number))


ANVIL = Decider("anvil", "anvil", (Strike,), (Struck,), 0, decide, lambda count, event: count + 1)
ANVILS = View("anvils", "anvil", AnvilRow, (Struck,), lambda event, about: (event.anvil,), evolve_row)

DECIDERS = (ANVIL,)
VIEWS = (ANVILS,)
