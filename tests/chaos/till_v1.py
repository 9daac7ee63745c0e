"""Tills, the version before: it has been told already what version 2 of its event means, so that it can run beside `till_v2`
and after it (docs/operate.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from twofold import About, Command, Decider, Downcaster, Event, View

NAME = "till"


class Deposit(Command, frozen=True):
    till: str
    amount: int


class Empty(Command, frozen=True):
    till: str


class Deposited(Event, frozen=True):
    till: str
    amount: int


class Emptied(Event, frozen=True):
    till: str
    taken: int


class TillRow(msgspec.Struct, frozen=True):
    till: str
    deposits: int = 0
    total: int = 0


class TakingsRow(msgspec.Struct, frozen=True):
    till: str
    taken: int


def decide(total: int, command: Deposit | Empty) -> list[Deposited | Emptied]:
    if isinstance(command, Deposit):
        return [Deposited(command.till, command.amount)]
    return [Emptied(command.till, total)] if total else []


def evolve(total: int, event: Deposited | Emptied) -> int:
    return total + event.amount if isinstance(event, Deposited) else 0


def keys(event: Deposited | Emptied, about: About) -> tuple[str]:
    return (event.till,)


def show(row: TillRow | None, event: Deposited | Emptied, about: About) -> TillRow:
    row = row or TillRow(event.till)
    if isinstance(event, Emptied):
        return TillRow(row.till, row.deposits, 0)
    return TillRow(row.till, row.deposits + 1, row.total + event.amount)


def show_takings(row: TakingsRow | None, event: Emptied, about: About) -> TakingsRow:
    return TakingsRow(event.till, event.taken + (row.taken if row else 0))


def without_note(data: dict[str, Any]) -> dict[str, Any]:
    return {"till": data["till"], "amount": data["pence"]}


DECIDERS = (
    Decider[int, Deposit | Empty, Deposited | Emptied]("till", "till", (Deposit, Empty), (Deposited, Emptied), 0, decide, evolve),
)
VIEWS = (
    View[TillRow, Deposited | Emptied]("tills", "till", TillRow, (Deposited, Emptied), keys, show),
    View[TakingsRow, Emptied]("takings", "till", TakingsRow, (Emptied,), keys, show_takings),
)
DOWNCASTERS = (Downcaster("Deposited", 2, without_note),)
