"""What a projector tells after its commit: how far its slices' rows are."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.bus.rabbitmq.news import NewsSender
from twofold.kernel.rows import Progress


class RabbitProgress:
    """The projectors' part of port Bell."""

    def __init__(self, sender: NewsSender) -> None:
        self._sender = sender

    def advanced(self, progress: Sequence[Progress]) -> None:
        self._sender.advanced(progress)
