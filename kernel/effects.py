"""Effects: what is asked of the outside, the words of it. Processes ask (kernel/process.py), and the room `processes` performs.

Call ──> AskedCall, durable in a queue of its own ── perform, with retries ──> a command, back into the log
                                                          └── in vain ──> CallGivenUp, in the instance's stream
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from twofold.kernel.messages import Command

CALL_SECONDS_MAX = 10.0
CALL_TRIES_MAX = 8

RequestT = TypeVar("RequestT", bound=msgspec.Struct)


class Attempt(msgspec.Struct, frozen=True):
    """One try of a call. `key` is the same in every one of its tries, and no other call's: whoever is asked can tell by it what
    he has done already. `settings` is the process's environment."""

    key: str
    number: int
    deadline_seconds: float
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Effect(Generic[RequestT]):
    """A call to the outside, which a process asks for by name. `perform(request, attempt)` may block for `deadline_seconds`. It
    returns the command that says what came of it (None: nothing is to be said), and raises where it does not know: then it is
    tried again, `tries_max` times, ever more slowly, and given up. It may be asked again for what it has done: `attempt.key`
    tells."""

    name: str
    request: type[RequestT]
    perform: Callable[[RequestT, Attempt], Command | None]
    deadline_seconds: float = CALL_SECONDS_MAX
    tries_max: int = CALL_TRIES_MAX


AnyEffect: TypeAlias = Effect[Any]


class AskedCall(msgspec.Struct, frozen=True):
    """A call on its way to whoever performs it, as it stands in the queue of effects. `call_id` is its idempotency key."""

    call_id: str
    effect: str
    process: str
    key: str
    request: msgspec.Raw
    asked_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None


class EffectQueue(Protocol):
    """Where calls wait for whoever performs them. Blocking and thread-safe."""

    def put(self, calls: Sequence[AskedCall]) -> None:
        """Return when all of them are durable. Raises Unavailable when they may not be: put them again, a second time is
        harmless."""
