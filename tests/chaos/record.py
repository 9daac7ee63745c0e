"""What a client sent and what it was answered: one half of the evidence. Filled by client.py, read by checker.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class Sent:
    """One command that was answered 202.

    `sent` and `accepted` are ticks of the client's own clock: when it was posted first, and when its 202 was here. One
    command came before another if its 202 was here before the other was posted.
    """

    command_id: str
    stream: str
    gateway: str
    sent: int
    accepted: int
    attempts: int


@dataclass
class Record:
    """`unsure` counts, per stream, commands whose client never learned their fate: each may have had its effect, or none."""

    accepted: dict[str, Sent] = field(default_factory=dict)
    unsure: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    """Why commands had to be posted again: the status, or the kind of the connection's error."""
    contradictions: list[str] = field(default_factory=list)
    """Command ids that were answered differently to the same idempotency key."""
    _ticks: count[int] = field(default_factory=count)

    def tick(self) -> int:
        return next(self._ticks)

    def accept(self, sent: Sent) -> None:
        self.accepted.setdefault(sent.command_id, sent)

    def forget(self, command_ids: Iterable[str]) -> None:
        """Nobody waits for these any more; what is asked again counts from then on."""
        for command_id in command_ids:
            self.accepted.pop(command_id, None)
