"""Answers over server-sent events: what a query answers now, then again whenever that changes.

    progress board (hint, or a tick) ──> read again ──> differs from what was sent last? ──> one event

The id of an event is a fingerprint of what it shows, so a client that comes back with Last-Event-ID is sent something
only when it has missed something, however long it was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import NamedTuple

from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.event_streams import EventStream, OpenEventStreams
from twofold.gateway.queries.consistency import ConsistentReads
from twofold.gateway.queries.progress import ProgressBoard
from twofold.gateway.queries.questions import body_of
from twofold.kernel.rows import Query
from twofold.kernel.view import AnyView

TICK_SECONDS = 1.0
"""How late a change is shown when its hint is lost."""
PAUSE_SECONDS = 0.1
"""What is busy is read at most ten times a second for each stream that shows it."""
RESTS_PER_READING = 10
"""What is folded each time it is read is read less often: so many times as long as it took lies before the next reading."""


class Shown(NamedTuple):
    """What a query answers: the event's id, its name, its JSON; `wake` waits until it may have changed."""

    id: str
    event: str
    data: bytes
    wake: Callable[[], Awaitable[None]]


class ChangingAnswers:
    """Lives on the event loop."""

    def __init__(self, reads: ConsistentReads, progress: ProgressBoard, streams: OpenEventStreams) -> None:
        self._reads = reads
        self._progress = progress
        self._streams = streams

    async def row(self, request: web.Request, view: AnyView, key: str) -> web.StreamResponse:
        """Events `row` with the row, and `gone` when there is none."""

        seconds = asyncio.get_running_loop().time

        async def show() -> Shown:
            began = seconds()
            found = (await self._reads.row(view, key, is_patient=True)).answer
            rest = max(PAUSE_SECONDS, RESTS_PER_READING * (seconds() - began)) if not view.is_stored else PAUSE_SECONDS

            async def wake() -> None:
                await asyncio.sleep(rest)
                if view.sync == "async":
                    await self._progress.reached(view.name, found.slice.slice, found.position + 1, TICK_SECONDS)
                else:
                    await self._progress.grown(found.position, TICK_SECONDS)

            if found.row is None:
                return Shown("gone", "gone", encode({view.key: key}), wake)
            return Shown(f"{found.slice.generation}-{found.row.position}", "row", encode(found.row.value), wake)

        return await self._follow(request, show)

    async def page(self, request: web.Request, view: AnyView, query: Query) -> web.StreamResponse:
        """Events `rows` with the whole page."""

        async def show() -> Shown:
            moves = self._progress.moves(view.name)
            page = (await self._reads.page(view, query, is_patient=True)).answer
            data = encode(body_of(page))

            async def wake() -> None:
                await asyncio.sleep(PAUSE_SECONDS)
                await self._progress.moved(view.name, moves, TICK_SECONDS)

            return Shown(blake2b(data, digest_size=12).hexdigest(), "rows", data, wake)

        return await self._follow(request, show)

    async def _follow(self, request: web.Request, show: Callable[[], Awaitable[Shown]]) -> web.StreamResponse:
        shown = await show()  # before the stream begins: what is wrong with the question is still a problem then
        async with self._streams.open(request) as stream:
            await stream.begin()
            while True:
                await self._send(stream, shown)
                await shown.wake()
                if not stream.is_open:
                    break
                shown = await show()
        return stream.response

    async def _send(self, stream: EventStream, shown: Shown) -> None:
        if shown.id == stream.last_event_id:
            await stream.beat()
        else:
            await stream.send(shown.id, shown.event, shown.data)
