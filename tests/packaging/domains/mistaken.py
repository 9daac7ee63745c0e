"""The same domain with a mistake in every marked line, and in no other. A type checker must say so there and nowhere else."""

from __future__ import annotations

import msgspec
from lending import BOOK, MEMBERS, GivenBack, Lend, Lent, MemberRow, decide, evolve, keys, show

from twofold import About, Command, Decider, Event, View
from twofold.testing import given, rows


class Sell(Command, frozen=True):
    book_id: str


class Sold(Event, frozen=True):
    book_id: str


class BookRow(msgspec.Struct, frozen=True):
    book_id: str


def decide_sale(borrower: str | None, command: Lend) -> list[Sold]:
    return [Lent(command.book_id, command.member_id)]  # expect: wrong event type


def decide_nothing(borrower: str | None, command: Lend) -> None: ...


def evolve_to_number(borrower: str | None, event: Lent) -> int:
    return 1


def numbers(event: Lent, about: About) -> tuple[int, ...]:
    return (1,)


def show_book(row: BookRow | None, event: Lent, about: About) -> BookRow:
    return BookRow(event.book_id)


Decider[str | None, Lend, Lent](
    name="book",
    key="book_id",
    commands=(Sell,),  # expect: wrong command type
    events=(Sold,),  # expect: wrong event type
    initial=0,  # expect: wrong state
    decide=decide_nothing,  # expect: wrong return of decide
    evolve=evolve_to_number,  # expect: wrong return of evolve
)
Decider[str | None, Lend, Sold](
    name="book",
    key="book_id",
    commands=(Lend,),
    events=(Sold,),
    initial=None,
    decide=decide,  # expect: decide makes other events
    evolve=evolve,  # expect: evolve takes other events
)
View[MemberRow, Lent](
    name="members",
    key="member_id",
    row=BookRow,  # expect: wrong row type
    on=(Sold,),  # expect: wrong event type
    keys=numbers,  # expect: wrong return of keys
    evolve=show_book,  # expect: wrong row type
)
View[MemberRow, Sold](
    name="members",
    key="member_id",
    row=MemberRow,
    on=(Sold,),
    keys=keys,  # expect: keys takes other events
    evolve=show,  # expect: evolve takes other events
    store="mongo",  # expect: no such store
)

given(BOOK, Sold("1"))  # expect: wrong event type
given(BOOK).when(Sell("1"))  # expect: wrong command type
given(BOOK).when(Lend("1", "ada")).then(Sold("1"))  # expect: wrong event type
found: dict[str, BookRow] = rows(MEMBERS, Lent("1", "ada"))  # expect: wrong row type
rows(MEMBERS, GivenBack("1", "ada"), start={"1": BookRow("1")})  # expect: wrong row type
rows(MEMBERS, Lend("1", "ada"))  # expect: not an event
