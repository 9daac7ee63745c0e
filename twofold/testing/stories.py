"""What a process' tests are written in: what happened, what it has the process do, and what time brings.

process(UNPAID_BILL).given(BillSent(…)).when(BillPaid(…)).nothing_happened()
process(UNPAID_BILL).given(BillSent(…)).after(days=14).sends(PutOnHold(…))
process(WELCOME).when(CustomerRegistered(…)).sends(…).calls(Call("mail", …))

Every step is folded as the room `processes` folds it (kernel/instances.py); commands and calls go nowhere. Time stands still
until `after`: then timers fire as they fall due, one after the other, and are reacted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import ndiff
from typing import Any, Generic, cast

import msgspec

from twofold.kernel.codec import encode
from twofold.kernel.instances import Instance, InstanceStatus, Sent, instances_of
from twofold.kernel.messages import Command, Event
from twofold.kernel.process import AnyProcess, Call, EventT, InstanceEvent, Process, StateT, TimerFired
from twofold.kernel.view import About
from twofold.kernel.zones import NO_ZONE, as_read_in, naive_in

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMERS_FIRED_MAX = 10_000
"""In one stretch of time. What sets a timer whenever one fires would never end."""
NO_ROWS: Mapping[str, Instance] = {}


class Story(Generic[StateT, EventT]):
    """A process with a past, and what the last step had it do. A step leaves the story it begins with as it is: one beginning may
    go on in several ways."""

    def __init__(
        self,
        process: Process[StateT, EventT],
        now: datetime,
        rows: Mapping[str, Instance] = NO_ROWS,
        position: int = 0,
        key: str | None = None,
        step: str = "nothing",
    ) -> None:
        self._process = process
        self._now = now
        self._rows = dict(rows)
        self._position = position
        self._key = key
        self._step = step
        self._sent: list[Sent] = []
        self._view = instances_of(process, lambda about, sent: self._sent.extend(sent))

    def given(self, *events: EventT | InstanceEvent) -> Story[StateT, EventT]:
        """Happened, in this order; what was done about it is not looked at. Raises TypeError for what it does not hear."""
        story = self.when(*events)
        story._sent.clear()
        return story

    def when(self, *events: EventT | InstanceEvent) -> Story[StateT, EventT]:
        """Happens now, in this order. Raises TypeError for what it does not hear, ValueError for a command of it that would be
        refused at the door."""
        story = self._next(", ".join(map(repr, events)))
        for event in events:
            if not isinstance(event, cast(Any, self._view.on)):
                raise TypeError(f"process {self._process.name} does not hear {type(event).__name__}")
            story._hear(event)
        return story

    def after(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Story[StateT, EventT]:
        """So much time passes."""
        passing = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if passing < timedelta(0):
            raise ValueError(f"{passing} would be back in time")
        end, story = self._now + passing, self._next(f"{passing} had passed")
        for _ in range(TIMERS_FIRED_MAX):
            due = [(due, key, name) for key, row in story._rows.items() for name, due in row.timers.items() if due <= end]
            if not due:
                story._now = end
                return story
            moment, key, name = min(due)
            story._now = max(story._now, moment)
            story._hear(TimerFired(self._process.name, key, name, moment))
        raise RuntimeError(f"process {self._process.name}: more than {TIMERS_FIRED_MAX} timers fired within {passing}")

    def sends(self, *commands: Command) -> Story[StateT, EventT]:
        """The last step has it send these commands, in this order, and no others."""
        self._require("sends", [one for one in self._sent if isinstance(one, Command)], commands)
        return self

    def calls(self, *calls: Call) -> Story[StateT, EventT]:
        """The last step has it ask for these effects, in this order, and no others."""
        self._require("calls", [one for one in self._sent if isinstance(one, Call)], calls)
        return self

    def nothing_happened(self) -> Story[StateT, EventT]:
        """The last step has it send nothing and call nobody. It may have set a timer, or know more than before."""
        self._require("does", self._sent, ())
        return self

    def of(self, key: str) -> Story[StateT, EventT]:
        """The same, seen from another instance than the one that heard of something last."""
        story = self._next(self._step)
        story._sent, story._key = list(self._sent), key
        return story

    @property
    def state(self) -> StateT | None:
        """What is known of the instance; None: nothing."""
        return cast("StateT | None", getattr(self._instance, "state", None))

    @property
    def status(self) -> InstanceStatus | None:
        return self._instance.status if self._instance else None

    @property
    def is_done(self) -> bool:
        return self.status == "done"

    @property
    def timers(self) -> dict[str, timedelta]:
        """How long it is until each of its timers falls due, by name."""
        return {name: due - self._now for name, due in self._instance.timers.items()} if self._instance else {}

    @property
    def _instance(self) -> Instance | None:
        return None if self._key is None else self._rows.get(self._key)

    def _next(self, step: str) -> Story[StateT, EventT]:
        return Story(self._process, self._now, self._rows, self._position, self._key, step)

    def _hear(self, event: Event) -> None:
        self._position += 1
        as_read = as_read_in(type(event))
        read, named = event if as_read is None else as_read(event), f"test-{self._position}"
        about = About(self._position, "test", self._position, self._now, "", None, named, named)
        told = len(self._sent)
        for key, part in self._view.parts(read, about).items():
            self._key, row = key, self._view.evolved(self._rows.get(key), read, about.of(key, part))
            self._rows.pop(key, None)
            if row is not None:
                self._rows[key] = row
        for one in self._sent[told:]:
            if isinstance(one, Command):
                _require_sendable(self._process, one)

    def _require(self, verb: str, found: Sequence[Sent], expected: Sequence[Sent]) -> None:
        if list(found) != list(expected):
            differing = "\n".join(line.rstrip() for line in ndiff([repr(one) for one in expected], [repr(one) for one in found]))
            told = f"what {self._process.name} {verb} after {self._step} is not what is expected (- expected, + found)"
            raise AssertionError(f"\n{told}:\n{differing}")


def process(one: Process[StateT, EventT], at: datetime = NOON) -> Story[StateT, EventT]:
    """Nothing has happened yet. `at` is what the time is."""
    return Story(one, at)


def _require_sendable(process: AnyProcess, command: Command) -> None:
    """The room parks an instance that sends what the door would refuse."""
    kind = type(command)
    find = naive_in(kind)
    why = f"{NO_ZONE} at {pointer}" if find is not None and (pointer := find(command)) is not None else ""
    try:
        msgspec.json.decode(encode(command), type=kind)
    except msgspec.MsgspecError as error:
        why = str(error)
    if why:
        raise ValueError(f"process {process.name} sends a {kind.__name__} that is refused at the door: {why}")
