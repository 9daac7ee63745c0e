"""The embedded lanes in memory: they pass the suite of the table in SQLite. Nothing is durable, every call takes one lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock

from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import Regroup
from twofold.kernel.letters import LETTERS_MAX, DeadLetter, letter_id


class MemoryLaneTable:
    """Port LaneTable. Thread-safe."""

    def __init__(self) -> None:
        self.dead_letters: list[tuple[int, bytes, str]] = []
        """(lane, body, reason) of what was buried, in that order."""
        self._lock = RLock()
        self._messages: dict[int, tuple[int, bytes]] = {}
        self._last_id = 0
        self._count: int | None = None

    def put(self, batches: Sequence[tuple[int, bytes]]) -> None:
        with self._lock:
            for lane, body in batches:
                self._last_id += 1
                self._messages[self._last_id] = lane, body

    def take(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        with self._lock:
            return [(number, lane, body) for number, (lane, body) in self._messages.items() if number > after][:limit]

    def inherited_through(self) -> int:
        return 0

    def done(self, ids: Sequence[int]) -> None:
        with self._lock:
            for number in ids:
                self._messages.pop(number, None)

    def depths(self) -> dict[int, int]:
        with self._lock:
            lanes = [lane for lane, _ in self._messages.values()]
        return {lane: lanes.count(lane) for lane in set(lanes)}

    def bury(self, batch_id: int, reason: str) -> None:
        with self._lock:
            if found := self._messages.pop(batch_id, None):
                self.dead_letters.append((*found, reason))

    def letters(self, limit: int = LETTERS_MAX) -> list[DeadLetter]:
        with self._lock:
            found = [DeadLetter(letter_id(body), str(lane), reason, None, body) for lane, body, reason in self.dead_letters]
        return list({letter.id: letter for letter in found}.values())[:limit]

    def take_out(self, letter_id: str, use: Callable[[DeadLetter], None]) -> bool:
        for letter in self.letters(len(self.dead_letters)):
            if letter.id == letter_id:
                use(letter)
                with self._lock:
                    self.dead_letters = [dead for dead in self.dead_letters if dead[1] != letter.body]
                return True
        return False

    def count(self) -> int:
        if self._count is None:
            raise Misconfigured("the log has not been given its lanes")
        return self._count

    def renumber(self, count: int, regroup: Regroup) -> None:
        with self._lock:
            waiting, self._messages = list(self._messages.values()), {}
            self.put([again for lane, body in waiting for again in regroup(lane, body)])
            self._count = count
