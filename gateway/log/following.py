"""GET /events as an event stream: page after page of what is there, then one whenever the log has grown.

many streams ── the same place ──> one read, encoded once ──> written to each, in portions of some kilobytes

Streams have threads of their own, so those who ask once never wait for them. One that is at the head is sent what came within a
tenth of a second together: a busy log costs a gateway a few writes a second for each of its streams, not one an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
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
PORTION_BYTES = 64 * 1024
"""What is written at once: a reader who takes nothing holds one in memory, and not a page."""
PAGES_KEPT_MAX, KEPT_SECONDS = 16, 1.0
"""Pages for those who come to the same place a little later."""


class Place(NamedTuple):
    """What a stream asks for next: events of these types (None: all) behind this position, at most so many."""

    after: int
    limit: int
    types: tuple[str, ...] | None


class Portions(NamedTuple):
    """A page as it is written; `through` is the last position looked at, `goes_on` whether there may be more at once."""

    texts: Sequence[bytes]
    through: int
    goes_on: bool


class SharedPages:
    """Lives on the event loop. Every place is read once for all who stand there, on `threads`."""

    def __init__(self, history: History, threads: Threads) -> None:
        self._history = history
        self._threads = threads
        self._pages: dict[Place, asyncio.Task[Portions]] = {}

    async def at(self, place: Place) -> Portions:
        """Raises Unavailable. A page without an event is everybody's own look: it says nothing a moment later."""
        task = self._pages.get(place)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(place))
            self._pages[place] = task
            task.add_done_callback(lambda done: self._keep(place, done))
        return await asyncio.shield(task)

    async def _read(self, place: Place) -> Portions:
        def read() -> Portions:
            page = self._history.page(place.after, place.limit, place.types)
            return Portions(list(_portions(page)), page.through, len(page.events) == place.limit or page.is_cut)

        return await self._threads.run(read)

    def _keep(self, place: Place, task: asyncio.Task[Portions]) -> None:
        if task.cancelled() or task.exception() is not None or not task.result().texts:
            self._forget(place, task)
            return
        task.get_loop().call_later(KEPT_SECONDS, self._forget, place, task)
        for old in [(place, page) for place, page in self._pages.items() if page.done()][:-PAGES_KEPT_MAX]:
            self._forget(*old)

    def _forget(self, place: Place, task: asyncio.Task[Portions]) -> None:
        if self._pages.get(place) is task:
            del self._pages[place]


class LogFollowers:
    """Those who follow the log over HTTP."""

    def __init__(self, history: History, threads: Threads, progress: ProgressBoard) -> None:
        self._pages = SharedPages(history, threads)
        self._progress = progress

    async def follow(self, stream: EventStream, place: Place) -> None:
        """Write to the stream what comes behind this place until it is closed. Raises what cuts a stream."""
        while stream.is_open:
            heard = self._progress.head
            page = await self._pages.at(place)
            for text in page.texts:
                await stream.write(text)
            if page.through <= place.after:
                await stream.beat()
                # Beyond what was heard before the reading: a ring from beyond the head is read after once.
                await self._progress.grown(max(place.after, heard), TICK_SECONDS)
            elif not page.goes_on:
                await asyncio.sleep(PAUSE_SECONDS)
            place = place._replace(after=max(place.after, page.through))


def _portions(page: Page) -> Iterable[bytes]:
    gathered: list[bytes] = []
    size = 0
    for event in page.events:
        gathered.append(framed(str(event.position), "event", encode(shown(event))))
        size += len(gathered[-1])
        if size >= PORTION_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
