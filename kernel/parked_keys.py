"""What is asked about row keys that wait behind an event which could not be folded: parts of the port ViewStore."""

from __future__ import annotations

from typing import Protocol

from twofold.kernel.rows import ParkedKey, ParkedLine
from twofold.kernel.view import SliceId


class ParkedLines(Protocol):
    """Keys whose next event could not be folded, each with the line of events behind it."""

    def parked_lines(self, view: str, only_requested: bool = False) -> list[ParkedLine]:
        """The line of every parked key of a view, or of those something was asked for, in no order; why they wait is not read."""

    def parked_counts(self) -> dict[str, int]:
        """How many keys are parked, by view, a stream's once for all slices; views without any may be missing."""

    def rekeyed(self, view: str) -> int | None:
        """Where the first line begins of which a retry found that its event concerns other keys now; None: there is none."""

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        """Positions of the events that stand in line behind a parked key, ascending, the poison one first."""


class ParkedKeys(ParkedLines, Protocol):
    """What operators ask about them."""

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        """Of one view, or of every one known here: one key alone, wherever it is parked, or `limit` in the order they wait."""

    def request_retry(self, view: str, key: str) -> bool:
        """Ask the projector that holds the key's slice to drain its line. False when the key is not parked."""

    def discard(self, view: str, key: str) -> bool:
        """Ask it to skip the poison event for good and drain the rest. False when the key is not parked."""
