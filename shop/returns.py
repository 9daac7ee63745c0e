"""Goods that came back without a known order: recorded once, never changed."""

from __future__ import annotations

from datetime import datetime

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.values import Id, Line, Moment, OrderLines, Text, keep_in_utc, lines_of, total_of, units_of


class ReturnRecorded(Event, frozen=True):
    """`returned_at` is None when the command named no time: then it was returned when it was recorded."""

    return_id: str
    customer_id: str
    lines: tuple[Line, ...]
    country: str
    returned_at: datetime | None
    reason: str
    units: int
    total: int


class RecordReturn(Command, frozen=True):
    return_id: Id
    customer_id: Id
    lines: OrderLines
    country: Id
    reason: Text
    returned_at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "returned_at")


def decide(recorded: ReturnRecorded | None, command: RecordReturn) -> list[ReturnRecorded]:
    lines = lines_of(command.lines)
    fact = ReturnRecorded(
        return_id=command.return_id,
        customer_id=command.customer_id,
        lines=lines,
        country=command.country,
        returned_at=command.returned_at,
        reason=command.reason,
        units=units_of(lines),
        total=total_of(lines),
    )
    if recorded is None:
        return [fact]
    if recorded == fact:
        return []
    raise Rejected("already-recorded")


def evolve(recorded: ReturnRecorded | None, event: ReturnRecorded) -> ReturnRecorded | None:
    return event


RETURN = Decider[ReturnRecorded | None, RecordReturn, ReturnRecorded](
    name="return",
    key="return_id",
    commands=(RecordReturn,),
    events=(ReturnRecorded,),
    initial=None,
    decide=decide,
    evolve=evolve,
)
