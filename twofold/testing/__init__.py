"""Given / when / then for deciders, and folds for views: what a domain's tests are written in.

given(ORDER, OrderPlaced(...)).when(CancelOrder("7", "late")).then(OrderCancelled(...))
given(ORDER, ...).when(PlaceOrder(...)).nothing_happened()
given(ORDER).when(CancelOrder("7", "late")).rejected("no-such-order")
rows(VIEW, event, event, ...) == {"7": Row(...)}

A type checker holds them to the decider's own commands and events, and to the view's row.

For tests of what stands on the ports there are twins in memory: `memory_log` (MemoryLog, MemoryLaneTable, MemoryLeases),
`memory_rows` (MemoryViewStore), `memory_bus` (MemoryBell, MemoryOutcomes, memory_lanes), `clock` (ManualClock). They pass the
suites of the real ones. Import them from there: a domain's own tests need none, and start faster without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic

import msgspec

from twofold.kernel.decider import CommandT, Decider, EventT, StateT
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Event
from twofold.kernel.view import About, RowT, View
from twofold.kernel.view import EventT as SeenT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Given(Generic[StateT, CommandT, EventT]):
    """A decider with a past."""

    def __init__(self, decider: Decider[StateT, CommandT, EventT], events: Sequence[EventT]) -> None:
        self._decider = decider
        self.state = decider.fold(events)

    def when(self, command: CommandT) -> When[EventT]:
        try:
            return When(self._decider.decide(self.state, command), None)
        except Rejected as rejection:
            return When((), rejection)


class When(Generic[EventT]):
    """What a decider made of a command."""

    def __init__(self, events: Sequence[EventT], rejection: Rejected | None) -> None:
        self.events = list(events)
        self.rejection = rejection

    def then(self, *expected: EventT) -> None:
        assert self.rejection is None, f"rejected: {self.rejection.code} {self.rejection.details}"
        assert self.events == list(expected), f"\n{self.events}\nis not\n{list(expected)}"

    def nothing_happened(self) -> None:
        self.then()

    def rejected(self, code: str, **details: Any) -> None:
        """With this code, and with these among its details."""
        assert self.rejection is not None, f"not rejected, but {self.events}"
        assert self.rejection.code == code, f"rejected: {self.rejection.code}, not {code}"
        for name, value in details.items():
            assert self.rejection.details[name] == value


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

    Events that the view does not listen to are passed over, as they are in the log.
    """
    table = dict(start or {})
    for position, event in enumerate(events, start=after + 1):
        if not isinstance(event, view.on):
            continue
        about = About(position, "test", position, recorded_at)
        for key, part in view.parts(event, about).items():
            row = view.evolve(table.get(key), event, msgspec.structs.replace(about, key=key, part=part))
            if row is None:
                table.pop(key, None)
            else:
                table[key] = row
    return table
