"""What a consumer asks of the technology behind the lanes. Two live up to it: rabbit_consumer.py and embedded.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from twofold.bus.dispatch.delivery import Batch
from twofold.bus.dispatch.lanes import Lanes


class Transport(ABC):
    """Brings batches into `lanes` and settles them. Called by the consumer's thread alone, except `wake`. Never raises for
    a neighbour that is away: it reconnects by itself, and meanwhile brings nothing."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes

    @property
    @abstractmethod
    def opened(self) -> Collection[int]:
        """The lanes it consumes now."""

    @abstractmethod
    def open(self, lane: int) -> None:
        """Begin to consume a lane, from its first batch that is not settled; when it cannot now, it is asked again."""

    @abstractmethod
    def close(self, lane: int) -> None:
        """Stop consuming a lane; what is not settled is given, in order, to whoever opens it next."""

    @abstractmethod
    def receive(self, seconds: float) -> None:
        """Wait for at most so long until something has come or `wake` is called."""

    @abstractmethod
    def settle(self, batches: Sequence[Batch]) -> None:
        """Remove committed batches, all of open lanes, each lane's in order and with none before them left."""

    @abstractmethod
    def wake(self) -> None:
        """End a `receive` that waits. From any thread."""

    @abstractmethod
    def shut(self) -> None:
        """Close every lane and every connection."""
