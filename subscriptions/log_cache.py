"""The log as those who follow it read it: page by page, each event decoded once, the newest ones kept in memory.

Whoever is near the head asks for the same few events: those are in memory, a run of positions without a gap that ends where
reading the newest page ended. Whoever is far behind reads pages of its own, of which the last few are kept, because those who
are rebuilt together ask for the same page one after another.

A log can be replaced under those who follow it, by a replica or a backup that lacks its tail. So what comes behind an event is
read together with that event, and whoever goes on from it asks by its `mark` whether it is still the one he stands on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import datetime
from threading import Lock
from typing import NamedTuple

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.ids import mark_of
from twofold.kernel.log import Recorded
from twofold.kernel.messages import Event
from twofold.kernel.ports import LogPages
from twofold.kernel.view import About, AnyView

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
    def mark(self) -> str:
        """What a checkpoint that stands on this event remembers of it."""
        about = self.about
        return mark_of(self.position, about.stream, about.version, about.command_id, about.recorded_at)

    @property
    def stream(self) -> str:
        return self.about.stream

    @property
    def recorded_at(self) -> datetime:
        return self.about.recorded_at


class SeenPage(NamedTuple):
    """Events behind a position, and the mark of the event there, None when the log has none there; whether bytes ended it."""

    mark: str | None
    events: list[Seen]
    is_cut: bool


class LogCache:
    """Shared by all subscriptions of one process. Thread-safe. `listened` are the wire names of the events that are decoded."""

    def __init__(self, pages: LogPages, codec: Codec, listened: Collection[str]) -> None:
        self._pages = pages
        self._codec = codec
        self._listened = frozenset(listened)
        self._lock = Lock()
        self._begin = 0
        self._begin_mark: str | None = ""
        self._recent: list[Seen] = []
        self._recent_bytes = 0
        self._is_cut = False
        self._old: OrderedDict[tuple[int, int], SeenPage] = OrderedDict()

    def after(self, position: int, limit: int) -> list[Seen]:
        """The next events behind a position, at most `limit` or some megabytes, without a gap; empty at the head."""
        with self._lock:
            if position < self._begin:
                return self._old_page(position, limit)
            if position < self._end():
                start = position - self._begin
                return self._recent[start : start + limit]
            return self._newest(position, limit)

    def mark(self, position: int) -> str | None:
        """The mark of the event at a position, as it was when what comes behind it was read last; None when there is no such
        event, "" for position 0. Whoever stands on another event follows another log."""
        with self._lock:
            if position <= 0:
                return ""
            if self._begin < position <= self._end():
                return self._recent[position - self._begin - 1].mark
            if position == self._begin:
                return self._begin_mark
            known = [page.mark for (at, _), page in self._old.items() if at == position]
            return known[0] if known else self._read(position, 1).mark

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
        mark, page, self._is_cut = self._read(position, limit)
        if position != self._end() or not self._recent or self._recent[-1].mark != mark:
            self._begin, self._begin_mark, self._recent, self._recent_bytes = position, mark, [], 0
            self._old.clear()
        self._recent += page
        self._recent_bytes += sum([seen.size for seen in page])
        excess, older = 0, len(self._recent) - len(page)
        many = len(self._recent) - RECENT_EVENTS_MAX
        while excess < older and (excess < many or self._recent_bytes > RECENT_BYTES_MAX):
            self._recent_bytes -= self._recent[excess].size
            excess += 1
        if excess:
            self._begin_mark = self._recent[excess - 1].mark
            del self._recent[:excess]
            self._begin += excess
        return page

    def _old_page(self, position: int, limit: int) -> list[Seen]:
        page = self._old.get((position, limit))
        if page is None:
            page = self._read(position, limit)
            if len(page.events) == limit or page.is_cut:
                self._old[position, limit] = page
            while len(self._old) > OLD_PAGES_MAX:
                self._old.popitem(last=False)
        return page.events

    def _read(self, position: int, limit: int) -> SeenPage:
        """The event at the position is read with those behind it: so nobody goes on in a log that is not the one he left."""
        mark: str | None = ""
        if position > 0:
            page = self._pages.page(position - 1, limit + 1)
            if not page.events or page.events[0].position != position:
                return SeenPage(None, [], False)
            mark = _mark(page.events[0])
            if len(page.events) > 1 or not page.is_cut:
                return SeenPage(mark, [self._decoded(recorded) for recorded in page.events[1:]], page.is_cut)
        page = self._pages.page(position, limit)
        return SeenPage(mark, [self._decoded(recorded) for recorded in page.events], page.is_cut)

    def _decoded(self, recorded: Recorded) -> Seen:
        event, failed = None, None
        if recorded.type in self._listened:
            try:
                event = self._codec.event(recorded)
            except Exception as error:
                failed = error
        return Seen(recorded.position, recorded.type, about_of(recorded), event, failed, len(recorded.data))

    def _end(self) -> int:
        return self._begin + len(self._recent)


def about_of(recorded: Recorded) -> About:
    """What folds are told of an event."""
    meta, moment = recorded.meta, recorded.recorded_at
    belongs_to = meta.correlated or meta.command_id
    return About(recorded.position, recorded.stream, recorded.version, moment, "", None, meta.command_id, belongs_to)


def log_of(pages: LogPages, codec: Codec, views: Iterable[AnyView]) -> LogCache:
    """The log for whoever folds these views."""
    return LogCache(pages, codec, {tag for view in views for tag in view.listened})


def _mark(event: Recorded) -> str:
    return mark_of(event.position, event.stream, event.version, event.meta.command_id, event.recorded_at)
