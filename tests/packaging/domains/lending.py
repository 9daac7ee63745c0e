"""A domain of somebody who has only the wheel; every type is right."""

from __future__ import annotations

import msgspec

from twofold import About, Command, Decider, Event, Rejected, Upcaster, View
from twofold.testing import given, rows


class Lend(Command, frozen=True):
    book_id: str
    member_id: str


class GiveBack(Command, frozen=True):
    book_id: str


class Lent(Event, frozen=True):
    book_id: str
    member_id: str


class GivenBack(Event, frozen=True):
    book_id: str
    member_id: str


class MemberRow(msgspec.Struct, frozen=True):
    member_id: str
    books: int


def decide(borrower: str | None, command: Lend | GiveBack) -> list[Lent | GivenBack]:
    match command:
        case Lend():
            if borrower is not None:
                raise Rejected("already-lent", to=borrower)
            return [Lent(command.book_id, command.member_id)]
        case GiveBack():
            return [GivenBack(command.book_id, borrower)] if borrower else []


def evolve(borrower: str | None, event: Lent | GivenBack) -> str | None:
    return event.member_id if isinstance(event, Lent) else None


def keys(event: Lent | GivenBack, about: About) -> dict[str, int]:
    return {event.member_id: 1 if isinstance(event, Lent) else -1}


def show(row: MemberRow | None, event: Lent | GivenBack, about: About) -> MemberRow | None:
    books = (row.books if row else 0) + int(about.part)
    return MemberRow(event.member_id, books) if books else None


BOOK = Decider[str | None, Lend | GiveBack, Lent | GivenBack](
    name="book",
    key="book_id",
    commands=(Lend, GiveBack),
    events=(Lent, GivenBack),
    initial=None,
    decide=decide,
    evolve=evolve,
)
MEMBERS = View[MemberRow, Lent | GivenBack](
    name="members",
    key="member_id",
    row=MemberRow,
    on=(Lent, GivenBack),
    keys=keys,
    evolve=show,
    orders=("books",),
)

DECIDERS, VIEWS = (BOOK,), (MEMBERS,)
UPCASTERS = (Upcaster("Lent", 1, lambda data: {**data, "member_id": "unknown"}),)


def test_a_book_is_lent_to_one_member_at_a_time() -> None:
    given(BOOK).when(Lend("1", "ada")).then(Lent("1", "ada"))
    given(BOOK, Lent("1", "ada")).when(Lend("1", "bob")).rejected("already-lent", to="ada")
    given(BOOK).when(GiveBack("1")).nothing_happened()
    found: dict[str, MemberRow] = rows(MEMBERS, Lent("1", "ada"), Lent("2", "ada"), GivenBack("1", "ada"))
    assert found == {"ada": MemberRow("ada", 1)}
    assert rows(MEMBERS, GivenBack("2", "ada"), start=found) == {}
