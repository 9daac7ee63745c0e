"""Tills, the next version: a deposit may have a note, its event says so (version 2, in which a field has another name, too),
`tills` has another shape, and `balances` is new and inline."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from tests.chaos.till_v1 import Emptied, Empty, TakingsRow, show_takings
from twofold import About, Command, Decider, Event, Upcaster, View

NAME = "till"


class Deposit(Command, frozen=True):
    till: str
    amount: int
    note: str | None = None


class Deposited(Event, frozen=True):
    schema_version: ClassVar[int] = 2

    till: str
    pence: int
    note: str | None


class TillRow(msgspec.Struct, frozen=True):
    till: str
    deposits: int = 0
    total: int = 0
    notes: int = 0


class BalanceRow(msgspec.Struct, frozen=True):
    till: str
    balance: int


def decide(total: int, command: Deposit | Empty) -> list[Deposited | Emptied]:
    if isinstance(command, Deposit):
        return [Deposited(command.till, command.amount, command.note)]
    return [Emptied(command.till, total)] if total else []


def evolve(total: int, event: Deposited | Emptied) -> int:
    return total + event.pence if isinstance(event, Deposited) else 0


def keys(event: Deposited | Emptied, about: About) -> tuple[str]:
    return (event.till,)


def show(row: TillRow | None, event: Deposited | Emptied, about: About) -> TillRow:
    row = row or TillRow(event.till)
    if isinstance(event, Emptied):
        return TillRow(row.till, row.deposits, 0, row.notes)
    return TillRow(row.till, row.deposits + 1, row.total + event.pence, row.notes + (event.note is not None))


def show_balance(row: BalanceRow | None, event: Deposited | Emptied, about: About) -> BalanceRow:
    return BalanceRow(event.till, evolve(row.balance if row else 0, event))


def with_note(data: dict[str, Any]) -> dict[str, Any]:
    return {"till": data["till"], "pence": data["amount"], "note": None}


DECIDERS = (
    Decider[int, Deposit | Empty, Deposited | Emptied]("till", "till", (Deposit, Empty), (Deposited, Emptied), 0, decide, evolve),
)
VIEWS = (
    View[TillRow, Deposited | Emptied]("tills", "till", TillRow, (Deposited, Emptied), keys, show, indexes=("notes",)),
    View[TakingsRow, Emptied]("takings", "till", TakingsRow, (Emptied,), keys, show_takings),
    View[BalanceRow, Deposited | Emptied](
        "balances", "till", BalanceRow, (Deposited, Emptied), keys, show_balance, sync="inline"
    ),
)
UPCASTERS = (Upcaster("Deposited", 1, with_note),)
