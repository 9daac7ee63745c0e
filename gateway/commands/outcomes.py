"""What became of commands, as far as this gateway knows: outcomes it heard of, and what it accepted that has none yet.

    bus ── outcomes.listen (a thread) ── call_soon_threadsafe ──> hear ──> waiters
    inbox <── a look-up each tick for whatever is still waited for: news may be lost, the inbox is the truth

A command accepted here is not looked up before its first tick: it cannot have been decided before it was accepted, and
its outcome is on its way. Any other command is looked up at once: its outcome may be old.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from twofold.kernel.backoff import Backoff
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import CommandQueue

LOOKED_UP_TOGETHER, LOOKS_MAX = 100, 20
"""How many of the oldest undecided commands the inbox is asked about at a time, and how often."""
LOOK_SECONDS, OVERDUE_SECONDS = 1.0, 2.0
"""How often the inbox is asked about commands whose outcomes should have been heard by now, and when that is."""
REMEMBERED_MAX = 50_000
"""Outcomes, and accepted commands, kept in memory: a few seconds of full load. What is forgotten is looked up."""
WAITING_MAX = 10_000
TICK_SECONDS = 0.25
TICK_SECONDS_MAX = 2.0
"""The tick doubles up to this while a command stays undecided, so that a long queue is not asked about all the time."""


class AcceptedCommand(NamedTuple):
    """What is kept of an accepted command: enough to answer for it."""

    type: str
    stream: str
    fingerprint: str
    accepted_at: datetime
    attempt: int


class OutcomeBoard:
    """Lives on the event loop; nothing here may be called from another thread. `look_up` asks the inbox; `pass_on` is told the
    news, too."""

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Outcome | None]],
        pass_on: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    ) -> None:
        self._look_up = look_up
        self._pass_on = pass_on
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._accepted: OrderedDict[str, AcceptedCommand] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[Outcome | None]]] = {}
        self.heard_count = 0
        self._closed_at = float("inf")

    def accept(self, envelope: Envelope) -> None:
        """Remember a command that is durable in its lane now, unless its outcome was faster."""
        heard = self._outcomes.get(envelope.command_id)
        if heard is not None and heard.attempt >= envelope.attempt:
            return
        self._outcomes.pop(envelope.command_id, None)
        self._accepted[envelope.command_id] = AcceptedCommand(
            envelope.type, envelope.stream, envelope.fingerprint, envelope.accepted_at, envelope.attempt
        )
        _forget_oldest(self._accepted)

    def accepted(self, command_id: str) -> AcceptedCommand | None:
        return self._accepted.get(command_id)

    def outcome(self, command_id: str) -> Outcome | None:
        """From memory alone."""
        return self._outcomes.get(command_id)

    async def undecided(self) -> list[AcceptedCommand]:
        """What was accepted here lately and has no outcome, the oldest first: what was forgotten is not among it. News may have
        been lost, so the inbox is asked about the oldest first, if it answers."""
        with suppress(Unavailable):
            for _ in range(LOOKS_MAX):
                oldest = list(islice(self._accepted, LOOKED_UP_TOGETHER))
                found = await asyncio.gather(*[self._look_up(command_id) for command_id in oldest])
                self.hear([outcome for outcome in found if outcome is not None])
                if not oldest or oldest[0] in self._accepted:
                    break
        return list(self._accepted.values())

    def hear_news(self, outcomes: Sequence[Outcome]) -> None:
        self.heard_count += len(outcomes)
        self.hear(outcomes)
        self._pass_on(outcomes)

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """News, or what a look-up found: both are the truth, may come again, and may be of an attempt that is over."""
        for outcome in outcomes:
            if self._is_over(outcome):
                continue
            self._outcomes[outcome.command_id] = outcome
            self._accepted.pop(outcome.command_id, None)
            for waiter in self._waiters.pop(outcome.command_id, ()):
                if not waiter.done():
                    waiter.set_result(outcome)
        _forget_oldest(self._outcomes)

    async def find(self, command_id: str) -> Outcome | None:
        """The outcome there is by now, from memory or else from the inbox."""
        known = self._outcomes.get(command_id)
        # A parked command may have been tried again since, by another gateway whose news were lost: only the inbox knows.
        if known is not None and known.status != "parked":
            return known
        found = await self._look_up(command_id)
        if found is None or self._is_over(found):
            return self._outcomes.get(command_id)
        self.hear([found])
        return found

    async def wait(self, command_id: str, seconds: float, last_seconds: float = 0.0) -> Outcome | None:
        """The outcome, as soon as there is one; None when there is none in time, or so long after the end. Raises Unavailable
        when too many wait."""
        known = self._outcomes.get(command_id)
        if known is None and command_id not in self._accepted:
            known = await self.find(command_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        left = self._left(deadline, last_seconds)
        if known is not None or left <= 0:
            return known
        if len(self._waiters) >= WAITING_MAX:
            raise Unavailable(Neighbour.GATEWAY, "too many wait for outcomes", is_overload=True)
        heard = await self._next(command_id, min(TICK_SECONDS, left))
        if heard is not None:
            return heard
        tick = Backoff(TICK_SECONDS, TICK_SECONDS_MAX)
        while True:
            if (found := await self.find(command_id)) is not None:
                return found
            if (left := self._left(deadline, last_seconds)) <= 0:
                return None
            if (heard := await self._next(command_id, min(tick.failed(), left))) is not None:
                return heard

    def close(self) -> None:
        """Nobody waits any more, or only for his last seconds: what is known is all that will be told here."""
        self._closed_at = asyncio.get_running_loop().time()
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            if not waiter.done():
                waiter.set_result(None)

    def _left(self, deadline: float, last_seconds: float) -> float:
        return min(deadline, self._closed_at + last_seconds) - asyncio.get_running_loop().time()

    def _is_over(self, outcome: Outcome) -> bool:
        """Whether this is the outcome of a parked attempt, and the command has been tried again since."""
        newest = self._accepted.get(outcome.command_id) or self._outcomes.get(outcome.command_id)
        return newest is not None and newest.attempt > outcome.attempt

    async def _next(self, command_id: str, seconds: float) -> Outcome | None:
        """News of this command, if they come within the time."""
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(command_id, []).append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return None
        finally:
            waiting = self._waiters.get(command_id)
            if waiting is not None and waiter in waiting:
                waiting.remove(waiter)
                if not waiting:
                    del self._waiters[command_id]


def _forget_oldest(memory: OrderedDict[str, AcceptedCommand] | OrderedDict[str, Outcome]) -> None:
    while len(memory) > REMEMBERED_MAX:
        memory.popitem(last=False)


async def look_after(queue: CommandQueue, board: OutcomeBoard) -> None:
    """Until cancelled: news are lossy, and a queue that misses the last of them would take an empty lane for one that stands."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(Unavailable):
            found = [await board.find(command_id) for command_id in queue.overdue(OVERDUE_SECONDS)]
            queue.decided([outcome for outcome in found if outcome is not None])
