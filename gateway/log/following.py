"""GET /events as an event stream: frames of what is there, some kilobytes at a time, then more whenever the log has grown.

many streams ── the same place ──> one read, encoded once ──> frames, kept for a moment ──> some at a time to each

Streams have threads of their own, so those who ask once never wait for them. One that is at the head is sent what came within a
tenth of a second together: a busy log costs a gateway a few writes a second for each of its streams, not one an event. Who takes
nothing holds few of them in memory, and what follows is read again when he is ready for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from twofold.gateway.http.answers import encode, shown
from twofold.gateway.http.event_streams import EventStream, framed
from twofold.gateway.http.threads import Threads
from twofold.gateway.queries.progress import ProgressBoard
from twofold.kernel.log import Page
from twofold.kernel.ports import History

TICK_SECONDS = 1.0
"""How late an event is shown when its ring is lost."""
PAUSE_SECONDS = 0.1
FRAMES_BYTES = 64 * 1024
"""So many are written at a time, and what the last event among them has more."""
KEPT_BYTES_MAX, KEPT_SECONDS = 16 * 1024 * 1024, 1.0
"""Of frames, for those who come to the same place a little later."""


class Place(NamedTuple):
    """What a stream asks for next: events of these types (None: all) behind this position, read so many at a time."""

    after: int
    limit: int
    types: tuple[str, ...] | None


class Frames(NamedTuple):
    """Events as they are written; `through` is the last position looked at, `goes_on` whether there may be more at once."""

    text: bytes
    through: int
    goes_on: bool


class SharedFrames:
    """Lives on the event loop. Every place is read once for all who stand there, on `threads`."""

    def __init__(self, history: History, threads: Threads) -> None:
        self._history = history
        self._threads = threads
        self._reading: dict[Place, asyncio.Task[list[Frames]]] = {}
        self._kept: OrderedDict[Place, tuple[Frames, float]] = OrderedDict()
        """The oldest first, each with the loop's time until which it is kept."""
        self._kept_bytes = 0

    async def at(self, place: Place) -> Frames:
        """Raises Unavailable. One without an event is for those who asked alone: it says nothing a moment later."""
        loop = asyncio.get_running_loop()
        frames, until = self._kept.get(place, (None, 0.0))
        if frames is not None and loop.time() < until:
            return frames
        if (task := self._reading.get(place)) is None:
            task = self._reading[place] = loop.create_task(self._read(place))
            task.add_done_callback(lambda task: self._have_read(place, task))
        try:
            return (await asyncio.shield(task))[0]
        finally:
            del task  # it holds the error, whose traceback holds this frame

    async def _read(self, place: Place) -> list[Frames]:
        def read() -> list[Frames]:
            page = self._history.page(place.after, place.limit, place.types)
            return list(_frames(page, len(page.events) == place.limit or page.is_cut))

        return await self._threads.run(read)

    def _have_read(self, place: Place, task: asyncio.Task[list[Frames]]) -> None:
        del self._reading[place]
        if task.cancelled() or task.exception() is not None:
            return
        now = task.get_loop().time()
        for frames in task.result():
            if frames.text:
                self._forget(place)
                self._kept[place] = frames, now + KEPT_SECONDS
                self._kept_bytes += len(frames.text)
            place = place._replace(after=frames.through)
        while self._kept and (self._kept_bytes > KEPT_BYTES_MAX or next(iter(self._kept.values()))[1] <= now):
            self._forget(next(iter(self._kept)))

    def _forget(self, place: Place) -> None:
        if place in self._kept:
            self._kept_bytes -= len(self._kept.pop(place)[0].text)


class LogFollowers:
    """Those who follow the log over HTTP."""

    def __init__(self, history: History, threads: Threads, progress: ProgressBoard) -> None:
        self._frames = SharedFrames(history, threads)
        self._progress = progress

    async def follow(self, stream: EventStream, place: Place) -> None:
        """Write to the stream what comes behind this place until it is closed. Raises what cuts a stream."""
        while stream.is_open:
            heard = self._progress.head
            text, through, goes_on = await self._frames.at(place)
            if text:
                await stream.write(text)
            if through <= place.after:
                await stream.beat()
                # Beyond what was heard before the reading: a ring from beyond the head is read after once.
                await self._progress.grown(max(place.after, heard), TICK_SECONDS)
            elif not goes_on:
                await asyncio.sleep(PAUSE_SECONDS)
            place = place._replace(after=max(place.after, through))


def _frames(page: Page, goes_on: bool) -> Iterator[Frames]:
    """At least one. `goes_on`: whether there may be more behind the page."""
    gathered: list[bytes] = []
    size = 0
    for event in page.events[:-1]:
        gathered.append(framed(str(event.position), "event", encode(shown(event))))
        size += len(gathered[-1])
        if size >= FRAMES_BYTES:
            yield Frames(b"".join(gathered), event.position, True)
            gathered, size = [], 0
    gathered += [framed(str(event.position), "event", encode(shown(event))) for event in page.events[-1:]]
    yield Frames(b"".join(gathered), page.through, goes_on)
