"""A domain whose streams become long: accounts, with a balance and the last references, and no view."""

from __future__ import annotations

import msgspec

from twofold import Command, Decider, Event, Rejected

REFERENCES = 50


class Deposit(Command, frozen=True):
    account: str
    amount: int
    reference: str


class Deposited(Event, frozen=True):
    account: str
    amount: int
    reference: str


class Account(msgspec.Struct, frozen=True):
    """`references` are the last ones: what was deposited a moment ago is not deposited again."""

    balance: int = 0
    deposits: int = 0
    references: tuple[str, ...] = ()


def decide(account: Account, command: Deposit) -> list[Deposited]:
    if command.amount <= 0:
        raise Rejected("nothing-to-deposit", balance=account.balance, deposits=account.deposits)
    if command.reference in account.references:
        return []
    return [Deposited(command.account, command.amount, command.reference)]


def evolve(account: Account, event: Deposited) -> Account:
    references = (*account.references[1 - REFERENCES :], event.reference)
    return Account(account.balance + event.amount, account.deposits + 1, references)


ACCOUNT = Decider[Account, Deposit, Deposited]("account", "account", (Deposit,), (Deposited,), Account(), decide, evolve)

DECIDERS = (ACCOUNT,)
VIEWS = ()
