"""Effects: what is asked of the outside, the words of it. Processes ask (kernel/process.py), and the room `processes` performs.

Call ──> AskedCall, durable in the queue of its effect ── perform, with retries ──> a command, back into the log
                                                               └── in vain ──> CallGivenUp, in the instance's stream
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from twofold.kernel.errors import Malformed
from twofold.kernel.messages import Command

CALL_SECONDS_MAX = 10.0
CALL_TRIES_MAX = 8
CALL_SECONDS_LIMIT, CALL_TRIES_LIMIT = 600.0, 100
"""What an effect may ask for at most: a broker takes a call away again that is under way for longer than half an hour."""


class CallRefused(Exception):
    """Whoever was asked has answered that it cannot be: asking again does not change that, so the call is given up at once."""


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
    tried again, `tries_max` times, ever more slowly, and given up; at once for CallRefused. It may be asked again for what it has
    done: `attempt.key` tells; what it returns then should be the same."""

    name: str
    request: type[RequestT]
    perform: Callable[[RequestT, Attempt], Command | None]
    deadline_seconds: float = CALL_SECONDS_MAX
    tries_max: int = CALL_TRIES_MAX

    @property
    def why_not(self) -> str:
        """What is wrong with it; "" when nothing is."""
        request: object = self.request
        if not callable(self.perform):
            return f"perform is a function, not {self.perform!r}"
        if not (isinstance(request, type) and issubclass(request, msgspec.Struct)):
            return f"request is a class derived from msgspec.Struct, not {request!r}"
        if not 0 < self.deadline_seconds <= CALL_SECONDS_LIMIT:
            return f"deadline_seconds is above 0 and at most {CALL_SECONDS_LIMIT:g}, not {self.deadline_seconds!r}"
        if self.tries_max not in range(1, CALL_TRIES_LIMIT + 1):
            return f"tries_max is a number from 1 to {CALL_TRIES_LIMIT}, not {self.tries_max!r}"
        return ""


AnyEffect: TypeAlias = Effect[Any]


class AskedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call on its way to whoever performs it, as it stands in the queue of effects. `call_id` is its idempotency key; `number`
    says which try comes next. One that is asked again after it was given up is the same call, with a later `asked_at`."""

    call_id: str
    effect: str
    process: str
    key: str
    request: msgspec.Raw
    asked_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None
    number: int = 1


class EffectQueue(Protocol):
    """Where calls wait for whoever performs them, those of each effect apart. Blocking and thread-safe."""

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        """Return when all of them are durable. They are not performed before the delay is over, and perhaps some seconds later.
        Raises Unavailable when they may not be durable: put them again, a second time is harmless."""


class CallTable(Protocol):
    """The embedded queue of calls, in the log's own file. Their bodies are opaque."""

    def put(self, calls: Sequence[tuple[str, float, bytes]]) -> None:
        """Make these (effect, seconds from now, body) durable. Raises Unavailable when they may not be."""

    def take(self, effect: str, limit: int, without: Collection[int] = ()) -> list[tuple[int, bytes]]:
        """At most `limit` (id, body) of this effect whose time has come, in that order; not those `without`. Ids are never
        used twice."""

    def done(self, ids: Sequence[int], then: Callable[[], None]) -> None:
        """Remove finished calls, sooner or later, and call back from any thread when they are, or are kept: then `take` may give
        them again, and the call comes a second time."""

    def bury(self, row_id: int, reason: str) -> None:
        """Move what cannot be decoded to the dead letters. Nothing happens when it is not there."""

    def depths(self) -> dict[str, int]:
        """Calls that wait or are performed now, by effect; effects without any may be missing."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AskedCall)


def encode_call(call: AskedCall) -> bytes:
    return _ENCODER.encode(call)


def decode_call(body: bytes) -> AskedCall:
    """Raises Malformed when the body is not the JSON of a call."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
