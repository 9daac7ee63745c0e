"""The log as those who follow it read it: page by page, each event decoded once, the newest ones kept in memory.

Whoever is near the head asks for the same few events: those are in memory, a run of positions without a gap that ends where
reading the newest page ended. Whoever is far behind reads pages of its own, of which the last few are kept, because those who
are rebuilt together ask for the same page one after another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from datetime import datetime
from threading import Lock

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.log import Recorded
from twofold.kernel.messages import Event
from twofold.kernel.ports import LogPages
from twofold.kernel.view import About

RECENT_EVENTS_MAX = 4_000
RECENT_BYTES_MAX = 32 << 20
OLD_PAGES_MAX = 2


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One event of the log, as it is followed. `event` is None where nobody listens to it, or where decoding raised `error`."""

    position: int
    type: str
    about: About
    event: Event | None
    error: Exception | None
    size: int

    @property
    def stream(self) -> str:
        return self.about.stream

    @property
    def recorded_at(self) -> datetime:
        return self.about.recorded_at


class LogCache:
    """Shared by all subscriptions of one process. Thread-safe. `listened` are the wire names of the events that are decoded."""

    def __init__(self, pages: LogPages, codec: Codec, listened: Collection[str]) -> None:
        self._pages = pages
        self._codec = codec
        self._listened = frozenset(listened)
        self._lock = Lock()
        self._begin = 0
        self._recent: list[Seen] = []
        self._recent_bytes = 0
        self._is_cut = False
        self._old: OrderedDict[tuple[int, int], list[Seen]] = OrderedDict()

    def after(self, position: int, limit: int) -> list[Seen]:
        """The next events behind a position, at most `limit` or some megabytes, without a gap; empty at the head."""
        with self._lock:
            if position < self._begin:
                return self._old_page(position, limit)
            if position < self._end():
                start = position - self._begin
                return self._recent[start : start + limit]
            return self._newest(position, limit)

    def is_near(self, position: int) -> bool:
        """Whether what comes behind this position is in memory, or has not been read by anybody yet."""
        with self._lock:
            return position >= self._begin

    def goes_on(self, position: int) -> bool:
        """Whether it is known that there is more behind this position, where a page ended."""
        with self._lock:
            return position < self._end() or (position == self._end() and self._is_cut)

    def at(self, positions: Collection[int], reach: int) -> list[Seen]:
        """The events at these positions, ascending, wherever they are; read in ranges of at most `reach` positions."""
        left = sorted(positions)
        found: list[Seen] = []
        while left:
            first = left[0]
            last = max(position for position in left if position < first + reach)
            wanted = {position for position in left if position <= last}
            page = self._pages.page(first - 1, last - first + 1)
            found += [self._decoded(recorded) for recorded in page.events if recorded.position in wanted]
            left = [position for position in left if position > (page.through if page.is_cut else last)]
        return found

    def _newest(self, position: int, limit: int) -> list[Seen]:
        page, self._is_cut = self._read(position, limit)
        if position != self._end():
            self._begin, self._recent, self._recent_bytes = position, [], 0
        self._recent += page
        self._recent_bytes += sum(seen.size for seen in page)
        excess = 0
        while len(self._recent) - excess > len(page) and self._is_too_much(len(self._recent) - excess):
            self._recent_bytes -= self._recent[excess].size
            excess += 1
        del self._recent[:excess]
        self._begin += excess
        return page

    def _is_too_much(self, count: int) -> bool:
        return count > RECENT_EVENTS_MAX or self._recent_bytes > RECENT_BYTES_MAX

    def _old_page(self, position: int, limit: int) -> list[Seen]:
        page = self._old.get((position, limit))
        if page is None:
            page, is_cut = self._read(position, limit)
            if len(page) == limit or is_cut:
                self._old[position, limit] = page
            while len(self._old) > OLD_PAGES_MAX:
                self._old.popitem(last=False)
        return page

    def _read(self, position: int, limit: int) -> tuple[list[Seen], bool]:
        """A page, and whether it ends early because of its bytes."""
        page = self._pages.page(position, limit)
        return [self._decoded(recorded) for recorded in page.events], page.is_cut

    def _decoded(self, recorded: Recorded) -> Seen:
        event, failed = None, None
        if recorded.type in self._listened:
            try:
                event = self._codec.event(recorded)
            except Exception as error:
                failed = error
        about = About(recorded.position, recorded.stream, recorded.version, recorded.recorded_at)
        return Seen(recorded.position, recorded.type, about, event, failed, len(recorded.data))

    def _end(self) -> int:
        return self._begin + len(self._recent)
