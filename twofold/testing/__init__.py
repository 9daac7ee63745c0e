"""Given / when / then for deciders and processes, and folds for views: what a domain's tests are written in.

given(ORDER, OrderPlaced(...)).when(CancelOrder("7", "late")).then(OrderCancelled(...))
given(ORDER, ...).when(PlaceOrder(...)).nothing_happened()
given(ORDER).when(CancelOrder("7", "late")).rejected("no-such-order")
given(ORDER).when(PlaceOrder(...), at=datetime(2026, 1, 1, tzinfo=UTC)).then(...)
rows(VIEW, event, event, ...) == {"7": Row(...)}
process(FULFILMENT).given(OrderPlaced(...)).after(minutes=30).sends(CancelOrder("7", "late"))

A type checker holds them to the decider's own commands and events, the view's row, and the process' events and state.

For tests of what stands on the ports there are twins in memory: `memory_log` (MemoryLog, MemoryLaneTable, MemoryLeases),
`memory_rows` (MemoryViewStore), `memory_bus` (MemoryBell, MemoryOutcomes, memory_lanes), `clock` (ManualClock). They pass the
suites of the real ones. Import them from there: a domain's own tests need none, and start faster without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic

import msgspec

from twofold.kernel.codec import FactCheck
from twofold.kernel.decider import CommandT, Decider, EventT, StateT
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Event
from twofold.kernel.view import About, RowT, View
from twofold.kernel.view import EventT as SeenT
from twofold.kernel.zones import NO_ZONE, as_read_in, naive_in, utc_in
from twofold.testing.stories import NOON, Story, process

__all__ = ["NOON", "Given", "Story", "When", "given", "process", "rows"]


class Given(Generic[StateT, CommandT, EventT]):
    """A decider with a past."""

    def __init__(self, decider: Decider[StateT, CommandT, EventT], events: Sequence[EventT]) -> None:
        for event in events:
            if not isinstance(event, decider.events):
                raise TypeError(f"{type(event).__name__} is no event of decider {decider.name}")
        self._decider = decider
        self.state = decider.fold([_as_read(event) for event in events])

    def when(self, command: CommandT, at: datetime = NOON) -> When[EventT]:
        """A command that was accepted `at` that time. Raises TypeError or ValueError for one that is refused at the door, and for
        events that are parked as a bug."""
        name, find = type(command).__name__, naive_in(type(command))
        if not isinstance(command, self._decider.commands):
            raise TypeError(f"{name} is no command of decider {self._decider.name}")
        if find is not None and (pointer := find(command)) is not None:
            raise ValueError(f"{name} is refused at the door: {NO_ZONE} at {pointer}")
        facts = FactCheck(self._decider)
        try:
            made = self._decider.decided(self.state, command, at)
        except Rejected as rejection:
            return When((), rejection)
        return When([facts.checked(command, event) for event in made], None)


class When(Generic[EventT]):
    """What a decider made of a command."""

    def __init__(self, events: Sequence[EventT], rejection: Rejected | None) -> None:
        self.events = list(events)
        self.rejection = rejection

    def then(self, *expected: EventT) -> None:
        assert self.rejection is None, f"\nrejected: {_told(self.rejection)}\nis not\n{list(expected)}"
        assert self.events == list(expected), f"\n{self.events}\nis not\n{list(expected)}"

    def nothing_happened(self) -> None:
        self.then()

    def rejected(self, code: str, **details: Any) -> None:
        """With this code, and with these among its details."""
        expected = _told(Rejected(code, **details))
        assert self.rejection is not None, f"\n{self.events}\nis not\nrejected: {expected}"
        found = {name: value for name, value in self.rejection.details.items() if name in details}
        is_same = (self.rejection.code, found) == (code, details)
        assert is_same, f"\nrejected: {_told(self.rejection)}\nis not\nrejected: {expected}"


def _told(rejection: Rejected) -> str:
    return " ".join([rejection.code, *(f"{name}={value!r}" for name, value in rejection.details.items())])


def _as_read(event: Any) -> Any:
    """As it comes back from the log."""
    as_read = as_read_in(type(event))
    return event if as_read is None else as_read(event)


def given(decider: Decider[StateT, CommandT, EventT], *events: EventT) -> Given[StateT, CommandT, EventT]:
    return Given(decider, events)


def rows(
    view: View[RowT, SeenT],
    *events: Event,
    start: Mapping[str, RowT] | None = None,
    after: int = 0,
    recorded_at: datetime = NOON,
) -> dict[str, RowT]:
    """The rows a view has after these events, on top of `start` if given; `after` is the position before the first one.

    Events that the view does not listen to are passed over, as they are in the log. Datetimes of rows are in UTC.
    """
    in_utc = utc_in(view.row) or (lambda row: row)
    table = {key: in_utc(row) for key, row in (start or {}).items()}
    for position, event in enumerate(events, start=after + 1):
        if not isinstance(event, Event):
            raise TypeError(f"{type(event).__name__} is no event")
        if not isinstance(event, view.on):
            continue
        about = About(position, "test", position, recorded_at)
        read = _as_read(event)
        for key, part in view.parts(read, about).items():
            row = view.evolved(table.get(key), read, msgspec.structs.replace(about, key=key, part=part))
            if row is None:
                table.pop(key, None)
            else:
                table[key] = row
    return table
