"""The write side of one aggregate: fold its events into a state, and say what a command makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from inspect import Signature, signature
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
    `evolve(state, event)` returns the next state and never raises. Both are pure: no clock, no I/O, no randomness. Who needs the
    time writes `decide(state, command, accepted_at)`: when the gateway, or a process, took the command on, in UTC. It is part of
    the command, so whoever decides it again decides on the same.

    `internal` are those of the `commands` that processes alone send: the gateway accepts none of them from outside.

    States of long streams are kept beside the log (kernel/snapshots.py): `snapshot_every` so many events, 0 for never. Another
    `revision` (a number or a text) has them folded anew, where `evolve` means something else and its own code does not show it.
    """

    name: str
    key: str
    commands: tuple[type[CommandT], ...]
    events: tuple[type[EventT], ...]
    initial: StateT
    decide: Callable[[StateT, CommandT], Sequence[EventT]] | Callable[[StateT, CommandT, datetime], Sequence[EventT]]
    evolve: Callable[[StateT, EventT], StateT]
    snapshot_every: int | None = None
    revision: int | str = 0
    internal: tuple[type[CommandT], ...] = ()

    @cached_property
    def is_timed(self) -> bool | None:
        """Whether `decide` asks when the command was accepted; None when it takes neither what it should without nor with it.
        Looked at once, when the domain is loaded: asking a function what it takes is slower than most decisions."""
        try:
            takes = signature(self.decide)
        except ValueError:  # written in C: it says nothing
            return False
        if _can_take(takes, 2):
            return False
        return True if _can_take(takes, 3) else None

    def decided(self, state: StateT, command: CommandT, accepted_at: datetime) -> Sequence[EventT]:
        """What `decide` makes of a command that was accepted then."""
        decide: Callable[..., Sequence[EventT]] = self.decide
        return decide(state, command, accepted_at) if self.is_timed else decide(state, command)

    def stream_of(self, command: CommandT) -> str:
        return f"{self.name}-{getattr(command, self.key)}"

    def fold(self, events: Iterable[EventT], state: StateT | None = None) -> StateT:
        """The state after these events, from `state` or else from the beginning."""
        folded = self.initial if state is None else state
        for event in events:
            folded = self.evolve(folded, event)
        return folded


AnyDecider: TypeAlias = Decider[Any, Any, Any]


def _can_take(takes: Signature, count: int) -> bool:
    try:
        takes.bind(*[None] * count)
    except TypeError:
        return False
    return True


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
