"""What an outbox asks of whoever makes its batches durable, and what becomes of a batch when the lanes change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Unavailable
from twofold.kernel.ids import lane_of
from twofold.kernel.lanes import Epoch


class EpochIsOver(Exception):
    """The lane is one of an epoch that is over: the batch is not in it. The same goes to the lanes of `newest`."""

    def __init__(self, newest: Epoch) -> None:
        super().__init__(f"epoch {newest.number} has begun")
        self.newest = newest


class Publisher(Protocol):
    """Makes one batch durable."""

    async def start(self) -> None: ...

    async def publish(self, lane: int, body: bytes) -> None:
        """Return when the batch is durable in its lane; raise Unavailable when it may not be. Publishing it again is harmless.
        Raises EpochIsOver when it must not be repeated there."""

    def refusal(self) -> Unavailable | None:
        """Why a batch published now has no chance to become durable; None when it has one."""

    async def close(self) -> None: ...


def regrouped(envelopes: Iterable[Envelope], epoch: Epoch) -> dict[int, list[Envelope]]:
    """By the lane on which they travel in this epoch, in order within each."""
    found: dict[int, list[Envelope]] = {}
    for envelope in envelopes:
        found.setdefault(epoch.lanes[lane_of(envelope.stream, epoch.lane_count)], []).append(envelope)
    return found
