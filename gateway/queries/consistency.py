"""Read your writes: an answer that shows what the asker has seen, or an honest "not yet".

    token ──> position (a command's: through the outcome board) ──> ask the store ──> checkpoint there? answer
                                                                        ^                   │ no
                                                                        └── hint or tick ───┘   until the time is up

Only the checkpoint that comes with the row, from one snapshot, decides. A hint that says "not there yet" saves a query; one that
says "there" causes one. Hints may be lost: while anybody waits, the store is asked for everybody where its slices are. Who has
waited reads on threads that are for those alone, and together with others who want the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import random
from typing import Generic, NamedTuple, TypeVar

from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.headers import Token
from twofold.gateway.http.threads import PENDING_MAX, BatchLoader, Threads
from twofold.gateway.queries.lines import QueryLines
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ports import ParkedLines, Rows
from twofold.kernel.rows import Found, Query, RowPage
from twofold.kernel.view import AnyView

TICK_SECONDS = 0.1
"""How long a lost hint may cost."""
REREAD_SECONDS = 10.0
"""Who waits reads again this often, whatever was heard; each at a time of his own."""
PAUSE_SECONDS_MIN = 0.005
"""Between a reading that was too early and the next, for a hint that was: doubled each time, up to a tick."""
WAITERS_MAX = 10_000
PAGES_TOGETHER = 20

LAST_SECONDS = 3.0
"""How long a gateway that stops waits on for what a query asks for: "not yet" would be a refusal, and in a system that is well it
is milliseconds away. Well below the time that a gateway is given to stop."""

Watched = tuple[tuple[str, int | None], ...]
"""Views and their slices; None for the slowest of a view."""

AnswerT = TypeVar("AnswerT", Found, RowPage)


class ViewReading(NamedTuple, Generic[AnswerT]):
    """What was read last. `required` is None while the command of the token is undecided."""

    answer: AnswerT
    required: int | None
    is_reached: bool
    state: str = ""


class ConsistentReads:
    """Lives on the event loop."""

    def __init__(
        self,
        rows: Rows,
        lines: ParkedLines,
        board: OutcomeBoard,
        progress: ProgressBoard,
        threads: Mapping[str, Threads],
        patient_threads: Mapping[str, Threads],
        is_diverged: Callable[[str], Awaitable[bool]],
        rekeyed: Callable[[str], int | None] = lambda view: None,
    ) -> None:
        """`threads` by the view they are for: reads of a store that hangs must not keep those of another from running;
        `patient_threads` are for those who have waited. `is_diverged` says of a view whether it stands beside its log: then its
        checkpoints count for nothing. `rekeyed` says from which position on an event of a view waits that concerns others of its
        rows than the one it is parked for: any of them may lack it."""
        self._rows = rows
        self._lines = QueryLines(lines, board, threads)
        self._rekeyed = rekeyed
        self._is_diverged = is_diverged
        self._board = board
        self._progress = progress
        self._threads = threads
        self._patient_threads = patient_threads
        self._found: dict[tuple[str, bool], BatchLoader[str, Found]] = {}
        self._pages: dict[str, BatchLoader[Query, RowPage]] = {}
        self._waiter_count = 0

    async def row(
        self, view: AnyView, key: str, token: Token | None = None, wait_seconds: float = 0.0, is_patient: bool = False
    ) -> ViewReading[Found]:
        """The row, with everything the token stands for folded into it; not reached when that took too long. `is_patient`: for
        somebody who has waited, or does not wait for the answer."""

        async def read(is_patient: bool) -> Found:
            found = await self._of_keys(view, is_patient).load(key)
            assert found is not None, "a view store answers for every key"
            return found

        if token is None:
            return ViewReading(await read(is_patient), None, True)
        return await self._reach_unparked(view, self._watched(view, key), token, wait_seconds, read)

    async def page(
        self, view: AnyView, query: Query, token: Token | None = None, wait_seconds: float = 0.0, is_patient: bool = False
    ) -> ViewReading[RowPage]:
        """A page of rows; the slowest slice of the view must have reached the token."""

        async def read(is_patient: bool) -> RowPage:
            if not is_patient:
                return await self._threads[view.name].run(lambda: self._rows.find(view.name, query))
            page = await self._of_pages(view.name).load(query)
            assert page is not None, "a view store answers every query"
            return page

        if token is None:
            return ViewReading(await read(is_patient), None, True)
        watched = ((view.name, None),) if view.sync == "async" else ()
        return await self._reach_unparked(view, watched, token, wait_seconds, read)

    async def look_after(self) -> None:
        """Until cancelled: hints are lossy."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._progress.waiter_count:
                threads = next(iter(self._patient_threads.values()))
                with suppress(Unavailable):
                    self._progress.learn_positions(await threads.run(self._rows.positions))

    def _watched(self, view: AnyView, key: str) -> Watched:
        """Whose progress decides. An inline view moves with the log itself and tells nobody; its last hint says nothing. A live
        one is as far as those it looks through."""
        if view.sync == "inline":
            return ()
        if view.is_stored:
            return ((view.name, self._progress.slice_number(view.name, key)),)
        return tuple(
            (one.view.name, self._progress.slice_number(one.view.name, key) if one.index == one.view.key else None)
            for one in view.through
            if one.view.sync == "async"
        )

    async def _reach_unparked(
        self, view: AnyView, watched: Watched, token: Token, wait_seconds: float, read: Callable[[bool], Awaitable[AnswerT]]
    ) -> ViewReading[AnswerT]:
        """A checkpoint passes events of parked keys, rows do not: what waits in a line is not shown, until a retry or a discard
        has drained it. Whether there is one comes with the answer, from one snapshot; which one is looked up after it."""
        if self._waiter_count >= WAITERS_MAX:
            raise Unavailable(Neighbour.GATEWAY, "too many wait for rows", is_overload=True)
        self._waiter_count += 1
        try:
            return await self._reach_out_of_line(view, watched, token, asyncio.get_running_loop().time() + wait_seconds, read)
        finally:
            self._waiter_count -= 1

    async def _reach_out_of_line(
        self, view: AnyView, watched: Watched, token: Token, deadline: float, read: Callable[[bool], Awaitable[AnswerT]]
    ) -> ViewReading[AnswerT]:
        while True:
            reading = await self._reach(view, watched, token, deadline, read)
            rekeyed = min((at for name in view.follows if (at := self._rekeyed(name))), default=None)
            if not reading.is_reached or not (_has_parked(reading.answer) or rekeyed):
                return reading
            if not await self._lines.is_in_line(view, reading.answer, token, reading.required or 0, rekeyed):
                # Not in a line now, perhaps since a moment ago: only what is read from now on is sure to show it.
                return await self._reach(view, watched, token, deadline, read)
            if (left := self._left(deadline)) <= 0:
                return reading._replace(is_reached=False, state="parked")
            await asyncio.sleep(min(TICK_SECONDS, left))

    async def _reach(
        self, view: AnyView, watched: Watched, token: Token, deadline: float, read: Callable[[bool], Awaitable[AnswerT]]
    ) -> ViewReading[AnswerT]:
        required = await self._position(token, self._left(deadline))
        if required is None:
            return ViewReading(await read(True), None, False, "pending")
        is_patient = False
        for name, number in watched:
            hint = self._progress.position(name, number)
            if hint is not None and hint < required:
                is_patient = True
                await self._progress.reached(name, number, required, self._patience(deadline))
        pause_seconds = PAUSE_SECONDS_MIN
        while True:
            answer = await read(is_patient)
            for name in view.follows:
                if await self._is_diverged(name):
                    return ViewReading(answer, required, False, "diverged")
            if answer.position >= required:
                return ViewReading(answer, required, True)
            if (left := self._left(deadline)) <= 0:
                return ViewReading(answer, required, False, "behind")
            await asyncio.sleep(min(pause_seconds, left))
            pause_seconds, is_patient = min(2 * pause_seconds, TICK_SECONDS), True
            for name, number in watched:
                of_slice = answer.slice.slice if isinstance(answer, Found) and view.is_stored else number
                await self._progress.reached(name, of_slice, required, self._patience(deadline))

    def _patience(self, deadline: float) -> float:
        """Seconds until the next reading: those who came together do not come back together."""
        return min(REREAD_SECONDS * (0.5 + random()), self._left(deadline))

    def _left(self, deadline: float) -> float:
        """Seconds to wait: a few at most when the gateway is told to stop, and then as if the time were up."""
        return min(deadline, self._progress.closed_at + LAST_SECONDS) - asyncio.get_running_loop().time()

    async def _position(self, token: Token, wait_seconds: float) -> int | None:
        if token.command_id is None:
            return token.position
        outcome = await self._board.wait(token.command_id, wait_seconds, LAST_SECONDS)
        return None if outcome is None else outcome.position

    def _of_keys(self, view: AnyView, is_patient: bool) -> BatchLoader[str, Found]:
        name = view.name
        loader = self._found.get((name, is_patient))
        if loader is None:
            loader = BatchLoader(
                (self._patient_threads if is_patient else self._threads)[name],
                lambda keys: dict(zip(keys, self._rows.get(name, keys), strict=True)),
                pending_max=WAITERS_MAX if is_patient else PENDING_MAX,
                is_apart=not view.is_stored,
            )
            self._found[name, is_patient] = loader
        return loader

    def _of_pages(self, view: str) -> BatchLoader[Query, RowPage]:
        loader = self._pages.get(view)
        if loader is None:
            loader = BatchLoader(
                self._patient_threads[view],
                lambda queries: {query: self._rows.find(view, query) for query in queries},
                keys_max=PAGES_TOGETHER,
                pending_max=WAITERS_MAX,
            )
            self._pages[view] = loader
        return loader


def _has_parked(answer: Found | RowPage) -> bool:
    return answer.has_parked if isinstance(answer, RowPage) else answer.parked is not None or answer.has_parked_streams
