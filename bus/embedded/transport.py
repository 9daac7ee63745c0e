"""The bus within one process, over a durable table of batches (port LaneTable) instead of a broker.

    Outbox ── LanePublisher ──> table ── wake ──> TableTransport ──> Lanes ──> Dramatiq's threads

An accepted command is in the table; it leaves it after its commit. What a killed process had not finished is read again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.dispatch.lanes import CAREFUL_TAKES, DELIVERY_COMMANDS_MAX, LaneMessage, Lanes, Transport
from twofold.bus.publishing import regrouped
from twofold.kernel.envelope import decode_batch, encode_batch
from twofold.kernel.errors import Malformed, Unavailable
from twofold.kernel.lanes import Epoch, LaneTable

TAKE_ROWS_MAX = 256
TAKES_MAX = 4
"""Reads in one go, so that finished deliveries are not kept waiting by a long table."""
INHERITED_COMMANDS_MAX = 2 * DELIVERY_COMMANDS_MAX
"""What was in flight in a lane when a process ended is among so many of its first commands: one delivery, and one before it
that was finished and not yet removed."""
LANE_BATCHES_MAX = 256
"""Batches of one lane in memory; the lane is read on when half of them are gone."""


def renumber(lane_table: LaneTable, count: int) -> None:
    """There are so many lanes from now on; what waits goes to them, in order. While nobody puts or takes."""

    def regroup(lane: int, body: bytes) -> list[tuple[int, bytes]]:
        try:
            by_lane = regrouped(decode_batch(body), Epoch(0, count))
        except Malformed:
            return [(lane % count, body)]  # for whoever takes it to bury
        return [(number, encode_batch(envelopes)) for number, envelopes in by_lane.items()]

    lane_table.renumber(count, regroup)


class EmbeddedBroker(LaneBroker):
    """The workers' end, in the process that puts."""

    def __init__(self, lane_table: LaneTable) -> None:
        super().__init__(lambda lane: None)  # lanes are changed while nobody works: none is ever at its end
        self._lane_table = lane_table

    def transport(self, lanes: Lanes) -> Transport:
        return TableTransport(self._lane_table, lanes)


@dataclass(slots=True, eq=False)
class _Stay:
    """A lane's session: which of its rows have been read, and whether some were left because enough are in memory."""

    read_through: int = 0
    is_behind: bool = False
    careful_commands: int = INHERITED_COMMANDS_MAX
    """How many more of the commands that a process before this one left may have ended it."""


class TableTransport(Transport):
    """Reads the table from a cursor on. Rows of lanes that are not open or have enough in memory are passed over; the cursor
    goes back for them when there is room. A lane's `read_through` keeps rows that are met again from counting twice."""

    def __init__(self, lane_table: LaneTable, lanes: Lanes) -> None:
        super().__init__(lanes)
        self._lane_table = lane_table
        self._stays: dict[int, _Stay] = {}
        self._cursor = 0
        self._inherited_through: int | None = None
        self._woken = threading.Event()

    @property
    def opened(self) -> Collection[int]:
        return self._stays.keys()

    def open(self, lane: int) -> None:
        self._stays[lane] = _Stay()
        self.lanes.open(lane, self._stays[lane])
        self._cursor = 0
        self._woken.set()

    def close(self, lane: int) -> None:
        del self._stays[lane]
        self.lanes.close(lane)

    def receive(self, seconds: float) -> None:
        self._woken.wait(seconds)
        self._woken.clear()
        try:
            self._go_back()
            for _ in range(TAKES_MAX):
                if not self._take():
                    return
            self._woken.set()
        except Unavailable as error:
            structlog.get_logger().warning("lane table unavailable", reason=str(error))
            self._woken.wait(seconds)

    def settle(self, messages: Sequence[LaneMessage]) -> None:
        try:
            self._lane_table.done([message.token for message in messages])
        except Unavailable as error:
            # They stay in the table and come again when the process starts again: duplicates, which the inbox knows.
            structlog.get_logger().warning("lane table unavailable", reason=str(error))

    def wake(self) -> None:
        self._woken.set()

    def shut(self) -> None:
        for lane in list(self._stays):
            self.close(lane)

    def _go_back(self) -> None:
        for lane, stay in self._stays.items():
            if stay.is_behind and self.lanes.waiting_count(lane) <= LANE_BATCHES_MAX // 2:
                stay.is_behind = False
                self._cursor = min(self._cursor, stay.read_through)

    def _take(self) -> bool:
        """Read on, once. False when there is nothing more to read now."""
        if not self._stays or all(stay.is_behind for stay in self._stays.values()):
            return False
        if self._inherited_through is None:
            self._inherited_through = self._lane_table.inherited_through()
        rows = self._lane_table.take(self._cursor, TAKE_ROWS_MAX)
        for row_id, lane, body in rows:
            self._cursor = row_id
            stay = self._stays.get(lane)
            if stay is None or stay.is_behind or row_id <= stay.read_through:
                continue
            if self.lanes.waiting_count(lane) >= LANE_BATCHES_MAX:
                stay.is_behind = True
                continue
            stay.read_through = row_id
            self._add(row_id, lane, body, stay)
        return len(rows) == TAKE_ROWS_MAX

    def _add(self, row_id: int, lane: int, body: bytes, stay: _Stay) -> None:
        try:
            envelopes = decode_batch(body)
        except Malformed as error:
            structlog.get_logger().error("undecodable message moved to the dead letters", lane=lane, bytes=len(body))
            self._lane_table.bury(row_id, error.detail)
        else:
            is_inherited = row_id <= (self._inherited_through or 0) and stay.careful_commands > 0
            stay.careful_commands -= len(envelopes)
            self.lanes.add(LaneMessage(lane, envelopes, len(body), row_id, stay, CAREFUL_TAKES if is_inherited else 0))
