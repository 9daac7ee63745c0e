"""The write side of one aggregate: fold its events into a state, and say what a command makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from twofold.kernel.messages import Command, Event

StateT = TypeVar("StateT")
CommandT = TypeVar("CommandT", bound=Command)
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Decider(Generic[StateT, CommandT, EventT]):
    """One kind of aggregate. Its streams are called `{name}-{value of the command's key field}`.

    Written as `Decider[State, Command, Event](…)`, with unions where there are several commands or events, so that a type
    checker holds the functions to it. `decide(state, command)` returns the new facts, `[]` for "nothing to do" (outcome
    *ignored*), or raises `Rejected`.
    `evolve(state, event)` returns the next state and never raises. Both are pure: no clock, no I/O, no randomness.

    States of long streams are kept beside the log (kernel/snapshots.py): `snapshot_every` so many events, 0 for never. Another
    `revision` (a number or a text) has them folded anew, where `evolve` means something else and its own code does not show it.
    """

    name: str
    key: str
    commands: tuple[type[CommandT], ...]
    events: tuple[type[EventT], ...]
    initial: StateT
    decide: Callable[[StateT, CommandT], Sequence[EventT]]
    evolve: Callable[[StateT, EventT], StateT]
    snapshot_every: int | None = None
    revision: int | str = 0

    def stream_of(self, command: CommandT) -> str:
        return f"{self.name}-{getattr(command, self.key)}"

    def fold(self, events: Iterable[EventT], state: StateT | None = None) -> StateT:
        """The state after these events, from `state` or else from the beginning."""
        folded = self.initial if state is None else state
        for event in events:
            folded = self.evolve(folded, event)
        return folded


AnyDecider: TypeAlias = Decider[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Brings the JSON object of one event from `schema_version` to the next one."""

    tag: str
    schema_version: int
    upcast: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Downcaster:
    """Brings the JSON object of one event from `schema_version`, which this code does not write, back to the one before: code
    that has it can run beside the version that does write it, and again after it."""

    tag: str
    schema_version: int
    downcast: Callable[[dict[str, Any]], dict[str, Any]]
