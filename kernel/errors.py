"""Five errors, named by what the catcher does next.

    Error
    ├── Rejected       the domain said no: final, an outcome like any other
    ├── Malformed      not a known message: refuse at the door, park behind it
    ├── Conflict       the stream moved: decide again
    ├── Unavailable    a neighbour did not answer: wait, retry, 503
    └── Misconfigured  found at start-up: refuse to start

They carry data, not prose. Foreign exceptions are wrapped, `from` the original, in the room that owns the technology.
Whatever is none of the five is a bug and stays an ordinary exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from twofold.kernel.members import inline_views_name

BUGS = (Exception, SystemExit, GeneratorExit)
"""What may come out of a domain's code and is that code's fault alone: also what would end the thread that called it."""


FRAME = re.compile(r' +File ".*", line \d+, in \S+')
TRACEBACKS_MAX = 1_000


class Error(Exception):
    """One of the five."""


class Rejected(Error):
    """The domain says no. `code` is stable and machine-readable, `details` is JSON-encodable."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


class Malformed(Error):
    """Not a known message. `pointer` is an RFC 6901 JSON pointer to the offending place ("" = the whole). `is_unknown`: nothing
    of that name is known here, and may be elsewhere."""

    def __init__(self, detail: str, pointer: str = "", is_unknown: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.is_unknown = is_unknown


class TooMuchToFold(Malformed):
    """A row of a live view is made of more than may be read while somebody waits. To be kept, not folded each time."""


class Conflict(Error):
    """Somebody else appended to one of the streams, or decided one of the commands, since they were read."""


class Neighbour(StrEnum):
    """Whom a room waits for. The values are labels of `twofold_refusals_total`."""

    BROKER = "broker"
    GATEWAY = "gateway"
    LANES = "lanes"
    LOG = "log"
    REDIS = "redis"
    ROWS = "rows"
    SEARCH = "search"
    WORKERS = "workers"


class Unavailable(Error):
    """A neighbour did not answer; nothing is known to have happened. Try again after `retry_after_seconds`.

    `reason` is one of a few phrases that stand in the code, never data: it is a metric's label. What varies (a result code, a
    file's name) is `detail`. `is_overload`: the neighbour is there, and has more to do than it can.
    """

    def __init__(
        self,
        neighbour: Neighbour,
        reason: str = "no answer",
        *,
        detail: str = "",
        retry_after_seconds: float = 1.0,
        is_overload: bool = False,
    ) -> None:
        super().__init__(f"{neighbour.value}: {reason}{f' ({detail})' if detail else ''}")
        self.neighbour = neighbour
        self.reason = reason
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.is_overload = is_overload

    def again(self) -> Unavailable:
        """The same, to be raised to somebody else who waited for the same answer."""
        return Unavailable(
            self.neighbour,
            self.reason,
            detail=self.detail,
            retry_after_seconds=self.retry_after_seconds,
            is_overload=self.is_overload,
        )


class WrongPassword(Unavailable):
    """The neighbour is there and refuses who asks. Nothing to wait for when a room starts; later somebody may be changing it.
    `setting` is the variable that holds user and password."""

    def __init__(self, neighbour: Neighbour, setting: str) -> None:
        super().__init__(neighbour, "wrong password", detail=f"{setting}: its user or password is refused")


class NotKnown(Unavailable):
    """What has these names (kernel/members.py) is not known here; who knows it may go on."""

    def __init__(self, names: Iterable[str], reason: str = "a message is not known here") -> None:
        self.names = frozenset(names)
        super().__init__(Neighbour.WORKERS, reason, detail=", ".join(sorted(self.names)))


class Detached(Unavailable):
    """This needs events at or before position `through`, which an operator has detached from the log: until they are attached
    again it cannot be done. What needs newer ones only goes on."""

    def __init__(self, through: int) -> None:
        self.through = through
        fix = "`twofold partitions list` names them, `twofold partitions attach` brings them back"
        super().__init__(Neighbour.LOG, "detached events are needed", detail=f"of positions 1 to {through}; {fix}")

    def again(self) -> Detached:
        return Detached(self.through)


def other_inline_views(number: int) -> NotKnown:
    """For an append by a process that would leave an inline view out, or fold one that is not folded any more."""
    return NotKnown([inline_views_name(number)], "a newer inline view exists")


class Misconfigured(Error):
    """A setting or a domain module is wrong; the text names the setting and the fix, in one line."""


class Tracebacks:
    """Which bugs this process has told where they are: one that parks thousands is told once. Thread-safe."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], object] = {}
        """By the last place and the error's name, whoever came there."""

    def untold(self, text: str) -> tuple[str, ...]:
        """Of a traceback's text the places it went through and the error's name, without what was said there, which may be a
        payload; nothing when they were told before, or there are none."""
        lines = text.splitlines()
        at = [number for number, line in enumerate(lines) if FRAME.fullmatch(line)]
        if not at:
            return ()
        name = next((line.partition(":")[0] for line in lines[at[-1] + 1 :] if not line.startswith(" ")), "")
        places = (*(lines[number].strip() for number in at), name)
        if len(self._told) >= TRACEBACKS_MAX:
            self._told.clear()
        mine = object()
        return places if self._told.setdefault(places[-2:], mine) is mine else ()
