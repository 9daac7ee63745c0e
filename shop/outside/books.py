"""The simulated provider's memory: a journal of what it did, folded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from twofold.shop.outside.journal import Journal


class Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: what was done, or failed on purpose, under a key."""

    key: str
    act: str
    payment_id: str = ""
    reference: str = ""
    amount: int = 0
    currency: str = ""
    token: str = ""
    reason: str = ""


class Holding(msgspec.Struct):
    """What the provider has of one payment."""

    payment_id: str
    reference: str
    token: str
    authorised: int
    captured: int = 0
    refunded: int = 0
    is_voided: bool = False
    times_captured: int = 0


class Book:
    """The journal, folded."""

    def __init__(self) -> None:
        self.done: dict[str, Noted] = {}
        """By key."""
        self.failures: dict[str, int] = {}
        """By key, how often it failed on purpose."""
        self.held: dict[str, Holding] = {}
        """By reference."""
        self.closed: set[str] = set()
        """Payments that were voided."""

    def fold(self, noted: Noted) -> None:
        if noted.act == "failed":
            self.failures[noted.key] = self.failures.get(noted.key, 0) + 1
            return
        self.done[noted.key] = noted
        if noted.act == "authorised":
            self.held[noted.reference] = Holding(noted.payment_id, noted.reference, noted.token, noted.amount)
            return
        if noted.act == "voided":
            self.closed.add(noted.payment_id)
        for holding in self.held_for(noted.payment_id, noted.reference):
            match noted.act:
                case "captured":
                    holding.captured += noted.amount
                    holding.times_captured += 1
                case "voided":
                    holding.is_voided = True
                case "refunded":
                    holding.refunded += noted.amount

    def held_for(self, payment_id: str, reference: str) -> list[Holding]:
        """The one of this reference; without one, all of the payment."""
        if reference:
            return [self.held[reference]] if reference in self.held else []
        return [holding for holding in self.held.values() if holding.payment_id == payment_id]


class Books:
    """Thread-safe, and shared with any number of processes."""

    def __init__(self, path: Path) -> None:
        self._book = Book()
        self._journal = Journal(path, lambda line: self._book.fold(msgspec.json.decode(line, type=Noted)))
        self.close = self._journal.close

    @contextmanager
    def open(self) -> Iterator[Book]:
        """As it stands, for the block; nobody else changes it meanwhile."""
        with self._journal.turn():
            yield self._book

    def note(self, noted: Noted) -> None:
        """To be called within `open`."""
        self._journal.append(msgspec.json.encode(noted))
