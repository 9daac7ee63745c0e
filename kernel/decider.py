"""The write side of one aggregate: fold its events into a state, and say what a command makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twofold.kernel.messages import Command, Event


@dataclass(frozen=True, slots=True)
class Decider:
    """One kind of aggregate. Its streams are called `{name}-{value of the command's key field}`.

    `decide(state, command)` returns the new facts, `[]` for "nothing to do" (outcome *ignored*), or raises `Rejected`.
    `evolve(state, event)` returns the next state and never raises. Both are pure: no clock, no I/O, no randomness.
    """

    name: str
    key: str
    commands: tuple[type[Command], ...]
    events: tuple[type[Event], ...]
    initial: Any
    decide: Callable[[Any, Any], Sequence[Event]]
    evolve: Callable[[Any, Any], Any]

    def stream_of(self, command: Command) -> str:
        return f"{self.name}-{getattr(command, self.key)}"

    def fold(self, events: Iterable[Event], state: Any = None) -> Any:
        """The state after these events, from `state` or else from the beginning."""
        folded = self.initial if state is None else state
        for event in events:
            folded = self.evolve(folded, event)
        return folded


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Brings the JSON object of one event from `schema_version` to the next one."""

    tag: str
    schema_version: int
    upcast: Callable[[dict[str, Any]], dict[str, Any]]
