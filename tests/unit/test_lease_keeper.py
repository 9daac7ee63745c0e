"""Whatever goes wrong, leases go on being kept; and what is not renewed in time is let go before others take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event

import pytest

from twofold.eventstore.leases import MemoryLeases
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.members import WHOLE_VIEWS, Member
from twofold.lease_keeper import LeaseKeeper, new_member

TERM_SECONDS = 0.2
SECONDS_MAX = 10.0
LANES = ["0", "1"]


class Troubled(MemoryLeases):
    """The real ones in memory, whose database is away, or worse, whenever the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Callable[[], None] = lambda: None

    def renew(self, *arguments: object) -> dict[str, int]:
        self.trouble()
        return super().renew(*arguments)  # type: ignore[arg-type]


class Room:
    """What the keeper told it, the last last."""

    def __init__(self) -> None:
        self.told: list[frozenset[str]] = []
        self.refusals = 0

    def hold(self, held: frozenset[str]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("not now")
        self.told.append(held)

    def holds(self, *lanes: str) -> bool:
        return bool(self.told) and self.told[-1] == frozenset(lanes)


@contextmanager
def kept(leases: MemoryLeases, room: Room) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(leases, Member("workers", "a"), lambda: LANES, TERM_SECONDS, room.hold)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.close()


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def missing_table() -> None:
    raise LookupError('relation "members" does not exist')


def wait_for(event: Event) -> None:
    event.wait(SECONDS_MAX)


def away() -> None:
    raise Unavailable(Neighbour.LOG, "no connection")


def test_no_error_ends_the_keeping() -> None:
    """A table that is missing for a moment is no Unavailable, and must not leave a process that looks well and holds nothing."""
    leases, room = Troubled(), Room()
    with kept(leases, room):
        until(lambda: room.holds(*LANES))
        leases.trouble = missing_table
        until(lambda: room.holds())
        leases.trouble = lambda: None
        until(lambda: room.holds(*LANES))
        assert [member.name for member in leases.members()] == ["a"]
    assert leases.members() == []


def test_who_cannot_renew_for_a_term_holds_nothing() -> None:
    """Somebody else holds the lease by then: two must not go on as if it were theirs."""
    leases, room = Troubled(), Room()
    with kept(leases, room):
        until(lambda: room.holds(*LANES))
        leases.trouble = away
        until(lambda: room.holds())
        assert len(room.told) == 2
        leases.trouble = lambda: None
        until(lambda: room.holds(*LANES))


def test_a_trouble_is_said_when_it_begins_and_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Not at every renewal: a database that is away for an hour must not fill the log."""
    leases, room = Troubled(), Room()
    with kept(leases, room):
        until(lambda: room.holds(*LANES))
        leases.trouble = away
        until(lambda: room.holds())
        time.sleep(TERM_SECONDS)
        leases.trouble = lambda: None
        until(lambda: room.holds(*LANES))
    said = capsys.readouterr().out
    assert [said.count(line) for line in ("leases not renewed", "leases renewed again", "no connection")] == [1, 1, 1]
    assert said.index("leases not renewed") < said.index("leases renewed again")


def test_a_renewal_that_hangs_does_not_keep_a_lease_either() -> None:
    """A connection may be silent for far longer than a term; and the answer that comes at last is too old to count."""
    leases, room, is_over = Troubled(), Room(), Event()
    with kept(leases, room):
        until(lambda: room.holds(*LANES))
        leases.trouble = partial(wait_for, is_over)
        until(lambda: room.holds())
        is_over.set()
        until(lambda: room.holds(*LANES))


def test_a_room_that_could_not_take_what_it_was_given_is_told_again() -> None:
    leases, room = Troubled(), Room()
    room.refusals = 2
    with kept(leases, room):
        until(lambda: room.holds(*LANES))


def test_a_projector_says_that_it_shares_whole_views() -> None:
    """If one of the room does not, none of them does."""
    assert WHOLE_VIEWS in new_member("readmodels", load_domain("twofold.shop")).knows
