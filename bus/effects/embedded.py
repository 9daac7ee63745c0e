"""Calls within one process, in a durable table (port CallTable) instead of a broker. A delay is a due time in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

import structlog

from twofold.bus.effects.dispatch import CallSource, EffectBroker, TakenCall, call_of
from twofold.kernel.effects import AskedCall, CallTable, encode_call
from twofold.kernel.errors import Malformed, Unavailable

LOOK_SECONDS = 0.25
"""How often the table is asked for calls whose time has come; new ones are told at once."""


class TableEffects(EffectBroker):
    """Port EffectQueue and its performers' end, in one process."""

    def __init__(self, table: CallTable, effects: Collection[str]) -> None:
        super().__init__(effects)
        self._table = table

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        self._table.put([(call.effect, delay_seconds, encode_call(call)) for call in calls])
        if not delay_seconds:
            self.arrived()

    def source(self, effects: Collection[str], in_hand_max: int) -> CallSource:
        return TableSource(self._table, effects, in_hand_max)


class TableSource(CallSource):
    """Reads calls that are due, a few of each effect. What is in hand, or finished and not removed yet, is not read again."""

    def __init__(self, table: CallTable, effects: Collection[str], in_hand_max: int) -> None:
        super().__init__(effects)
        self._table = table
        self._in_hand_max = in_hand_max
        self._held: dict[str, set[int]] = {effect: set() for effect in effects}
        self._finishing: dict[str, set[int]] = {effect: set() for effect in effects}
        self._dry: set[str] = set()
        """Effects that had no more, when they were asked last."""
        self._woken = threading.Event()
        self._look_at = 0.0

    def receive(self, seconds: float) -> None:
        self._woken.wait(max(0.0, min(seconds, self._look_at - time.monotonic())))
        self._woken.clear()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._dry.clear()
        try:
            for effect in self.hands.keys() - self._dry:
                self._take(effect)
        except Unavailable as error:
            structlog.get_logger().warning("calls unavailable", reason=str(error))
            self._dry.update(self.hands)

    def settle(self, taken: TakenCall) -> None:
        effect, row_id = taken.call.effect, taken.token
        self._finishing[effect].add(row_id)
        self._held[effect].discard(row_id)
        self._table.done([row_id], self._finished(effect, row_id))

    def is_mine(self, taken: TakenCall) -> bool:
        return True

    def wake(self) -> None:
        self._woken.set()

    def arrived(self) -> None:
        self._look_at = 0.0
        self._woken.set()

    def shut(self) -> None:
        for hand in self.hands.values():
            hand.clear()

    def _finished(self, effect: str, row_id: int) -> Callable[[], None]:
        return lambda: self._finishing[effect].discard(row_id)

    def _take(self, effect: str) -> None:
        held = self._held[effect]
        room = self._in_hand_max - len(held)
        if room <= 0 or (self.hands[effect] and room < self._in_hand_max // 2):
            return  # a read for many costs as much as a read for one
        rows = self._table.take(effect, room, [*held, *self._finishing[effect].copy()])
        if len(rows) < room:
            self._dry.add(effect)
        for row_id, body in rows:
            try:
                call = call_of(effect, body)
            except Malformed as error:
                structlog.get_logger().error("undecodable call moved to the dead letters", effect=effect, bytes=len(body))
                self._table.bury(row_id, error.detail)
            else:
                held.add(row_id)
                self.hands[effect].append(TakenCall(call, row_id, self._table, time.monotonic()))
