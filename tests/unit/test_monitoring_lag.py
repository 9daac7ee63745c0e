"""Lag is head minus the lowest checkpoint, and the age of the oldest unseen event: never from a guess."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from twofold.kernel.ids import mark_of
from twofold.kernel.log import Meta, Page, Recorded
from twofold.kernel.view import SliceId
from twofold.monitoring.lag import read_lag

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Log:
    def head(self) -> tuple[int, datetime]:
        return 10, NOON

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        return {position: NOON + timedelta(seconds=position) for position in positions}

    def page(self, after: int, limit: int) -> Page:
        meta = Meta("c", "anonymous")
        return Page([Recorded(after + 1, "order-1", after + 1, "Placed", b"{}", meta, NOON)] if after < 10 else [], after)


def mark(position: int, command_id: str = "c") -> str:
    return mark_of(position, "order-1", position, command_id, NOON)


class Views:
    def __init__(self, *marks: str) -> None:
        self._marks = marks
        self.is_parked = False

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        return {SliceId("orders", 1, number): mark for number, mark in enumerate(self._marks)}

    def positions(self, *views: str) -> dict[SliceId, int]:
        return {SliceId("orders", 1, 0): 10, SliceId("orders", 1, 1): 7, SliceId("stock", 1, 0): 10}

    def parked_counts(self) -> dict[str, int]:
        return {"stock": 2} if self.is_parked else {}


class Clock:
    def now(self) -> datetime:
        return NOON + timedelta(seconds=20)


def test_a_view_is_as_far_as_its_slowest_slice() -> None:
    """A reader of any key must be able to trust the number."""
    orders = read_lag(Log(), Views(), Views(), ["orders"], Clock()).views["orders"]  # type: ignore[arg-type]
    assert (orders.position, orders.lag_events, orders.lag_seconds, orders.state) == (7, 3, 12.0, "behind")


def test_a_view_that_never_started_is_at_zero_not_current() -> None:
    """It has no checkpoint at all; taking that for "nothing to do" would hide the worst lag there is."""
    never = read_lag(Log(), Views(), Views(), ["never"], Clock()).views["never"]  # type: ignore[arg-type]
    assert (never.position, never.lag_events, never.lag_seconds) == (0, 10, 19.0)


def test_a_view_at_the_head_has_no_lag() -> None:
    stock = read_lag(Log(), Views(), Views(), ["stock"], Clock()).views["stock"]  # type: ignore[arg-type]
    assert (stock.lag_events, stock.lag_seconds, stock.state) == (0, 0.0, "live")


def test_a_view_that_stands_on_another_event_than_the_log_is_diverged() -> None:
    """At the head by its number, and yet it shows what never was: live it is not."""
    for orders, state in (
        (Views(mark(10), mark(7)), "behind"),
        (Views(mark(10), ""), "behind"),
        (Views(mark(10, "lost"), mark(7)), "diverged"),
        (Views(mark(10), mark(7, "lost")), "diverged"),
        (Views(mark(10), mark(11, "a read that came later")), "behind"),
    ):
        lag = read_lag(Log(), orders, orders, ["orders", "stock"], Clock())  # type: ignore[arg-type]
        assert (lag.views["orders"].state, lag.views["stock"].state) == (state, "live")


def test_a_view_ahead_of_its_log_is_diverged_whatever_it_remembers() -> None:
    """Checkpoints of release 0.1.0 have no mark."""

    class Short(Log):
        def head(self) -> tuple[int, datetime]:
            return 9, NOON

    views = Views("", "")
    assert read_lag(Short(), views, views, ["stock"], Clock()).views["stock"].state == "diverged"  # type: ignore[arg-type]


def test_what_is_parked_and_who_is_away_is_told() -> None:
    """A view whose store does not answer stands where it was last seen: it has not gone back to the beginning."""
    rows = Views()
    rows.is_parked = True
    views = read_lag(Log(), rows, rows, ["stock", "gone"], Clock(), {"gone": 4}).views  # type: ignore[arg-type]
    assert (views["stock"].state, views["gone"].state, views["gone"].position) == ("parked", "away", 4)
