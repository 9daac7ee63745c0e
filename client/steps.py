"""What a call does, step by step: a generator yields one of these and is sent what came of it, or thrown Unavailable.

Ask ──> Heard            one request, and its whole answer
Listen ──> Heard         one request whose answer comes bit by bit: status and headers, and the body only of a refusal
Hear ──> bytes           its next bit; b"" at the end
Pause ──> None           time passes
Give ──> None            hands a value to whoever iterates over the call
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from twofold.kernel.errors import Neighbour, Unavailable

T = TypeVar("T")


class Ask(NamedTuple):
    """One request. `path` is percent-encoded, with its query; the answer is waited for `timeout_seconds`."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float

    @property
    def label(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


class Headers(Protocol):
    """Of an answer, whatever the case of their names."""

    def get(self, name: str, /) -> Any: ...


class Heard(NamedTuple):
    """One answer."""

    status: int
    headers: Headers
    body: bytes


class Listen(NamedTuple):
    """A request for an event stream. Its beginning, and each next bit of it, are waited for `ask.timeout_seconds`."""

    ask: Ask


class Hear(NamedTuple):
    """Of what is listened to."""


class Pause(NamedTuple):
    seconds: float


class Give(NamedTuple):
    value: Any


Step = Ask | Listen | Hear | Pause | Give
Steps = Generator[Step, Any, T]


class Doing(Generic[T]):
    """A call under way: `step` is to be done next, and to be followed by `went` or `failed`; None once there is a `result`."""

    result: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.step: Step | None = None
        self.went(None)

    def went(self, heard: Any) -> None:
        try:
            self.step = self._steps.send(heard)
        except StopIteration as end:
            self.step, self.result = None, end.value

    def failed(self, unavailable: Unavailable) -> None:
        try:
            self.step = self._steps.throw(unavailable)
        except StopIteration as end:
            self.step, self.result = None, end.value

    def close(self) -> None:
        self._steps.close()


def lost(reason: str, detail: str) -> Unavailable:
    """For a transport: nothing is known of what became of the request. It may be tried again at once."""
    return Unavailable(Neighbour.GATEWAY, reason, detail=detail, retry_after_seconds=0.0)
