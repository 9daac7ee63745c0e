"""Given / when / then for deciders, and folds for views: what a domain's tests are written in.

given(ORDER, OrderPlaced(...)).when(CancelOrder("7", "late")).then(OrderCancelled(...))
given(ORDER, ...).when(PlaceOrder(...)).nothing_happened()
given(ORDER).when(CancelOrder("7", "late")).rejected("no-such-order")
rows(VIEW, event, event, ...) == {"7": Row(...)}
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.kernel.decider import AnyDecider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, AnyView

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class When:
    """What a decider made of a command."""

    def __init__(self, events: Sequence[Event], rejection: Rejected | None) -> None:
        self.events = list(events)
        self.rejection = rejection

    def then(self, *expected: Event) -> None:
        assert self.rejection is None, f"rejected: {self.rejection.code} {self.rejection.details}"
        assert self.events == list(expected), f"\n{self.events}\nis not\n{list(expected)}"

    def nothing_happened(self) -> None:
        self.then()

    def rejected(self, code: str, **details: Any) -> None:
        assert self.rejection is not None, f"not rejected, but {self.events}"
        assert self.rejection.code == code, f"rejected: {self.rejection.code}, not {code}"
        for name, value in details.items():
            assert self.rejection.details[name] == value


class Given:
    """A decider with a past."""

    def __init__(self, decider: AnyDecider, events: Sequence[Event]) -> None:
        self._decider = decider
        self.state = decider.fold(events)

    def when(self, command: Command) -> When:
        try:
            return When(self._decider.decide(self.state, command), None)
        except Rejected as rejection:
            return When((), rejection)


def given(decider: AnyDecider, *events: Event) -> Given:
    return Given(decider, events)


def rows(
    view: AnyView, *events: Event, start: dict[str, msgspec.Struct] | None = None, after: int = 0, recorded_at: datetime = NOON
) -> dict[str, msgspec.Struct]:
    """The rows a view has after these events, on top of `start` if given; `after` is the position before the first one."""
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
