"""The bus in memory: rings and outcomes as callbacks, lanes over a table that is gone with the process."""

from __future__ import annotations

from twofold.bus.embedded.bell import LocalBell as MemoryBell
from twofold.bus.embedded.bell import LocalOutcomes as MemoryOutcomes
from twofold.bus.embedded.publisher import command_queue
from twofold.bus.embedded.transport import EmbeddedBroker
from twofold.bus.outbox import Outbox
from twofold.testing.memory_log import MemoryLaneTable

__all__ = ["MemoryBell", "MemoryOutcomes", "memory_lanes"]


def memory_lanes(lanes: int, table: MemoryLaneTable | None = None) -> tuple[Outbox, EmbeddedBroker]:
    """Both ends of so many lanes: what a gateway puts into (port CommandQueue; `await start()` it), and what workers consume."""
    table = table or MemoryLaneTable()
    broker = EmbeddedBroker(table, lanes)
    return command_queue(table, lanes, broker.wake), broker
