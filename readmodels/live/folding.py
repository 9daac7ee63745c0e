"""One row, folded when it is asked for: the streams that its key names, and those that rows of other views name for it.

head of the log ──> streams(key), through other views' rows ──> their events, page by page ──> in log order ──> evolve
     └── position = the lowest of the head and where those rows stood: what is beyond it is left out

So a row is what a fold of the whole log up to its position would make of it, however much is appended meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.errors import Conflict, Neighbour, TooMuchToFold, Unavailable
from twofold.kernel.log import LastEvent, Recorded, last_of
from twofold.kernel.ports import EventStore, History, ParkedLines, Rows
from twofold.kernel.rows import Query, Row
from twofold.kernel.view import AnyView, Through
from twofold.subscriptions.log_cache import about_of

STREAMS_MAX = 1_000
EVENTS_MAX = 10_000
BYTES_MAX = 8 * 1024 * 1024
"""Of the events of all its streams. What is more takes longer than anybody waits, and than others should be kept waiting."""
PAGE_ROWS = 500
FIX = 'sync="async" or sync="inline" keeps its rows instead'


class LogAndStreams(EventStore, History, Protocol):
    """Where the log ends, and many of its streams at once."""


class RowsAndLines(Rows, ParkedLines, Protocol):
    """Rows of other views, and what is not in them because it is parked."""


class LiveRow(msgspec.Struct, frozen=True):
    """`parked`: where the first event stands that the rows which were looked through may lack, and so this one, too."""

    row: Row | None
    position: int
    parked: int | None = None


class _Named:
    """The streams of one key. `until`: those of them that are there up to this position are named."""

    def __init__(self, view: AnyView, key: str, until: int) -> None:
        self._told = f"{view.name} of {key!r}"
        self.streams: dict[str, None] = {}
        self.until = until
        self.parked: int | None = None

    def add(self, names: object) -> None:
        if isinstance(names, str):
            raise TypeError(f"{self._told}: streams gives {names!r}, a text; (name,) is a stream")
        self.streams |= dict.fromkeys(names)  # type: ignore[call-overload]
        if len(self.streams) > STREAMS_MAX:
            raise TooMuchToFold(f"{self._told} is made of more than {STREAMS_MAX:,} streams: {FIX}")

    def stands(self, position: int, parked: int | None) -> None:
        self.until = min(self.until, position)
        self.parked = min((one for one in (self.parked, parked) if one is not None), default=None)


def fold(log: LogAndStreams, rows: RowsAndLines, codec: Codec, view: AnyView, key: str) -> LiveRow:
    """The row of this key as it is now. Raises TooMuchToFold, Unavailable, and whatever is wrong with the domain's code."""
    named = _Named(view, key, log.head()[0])
    if view.streams is not None:
        named.add(view.streams(key))
    for through in view.through:
        _look_through(rows, through, key, named)
    value, position = None, 0
    for recorded in _events(log, view, key, named):
        about = about_of(recorded)
        event = codec.event(recorded)
        parts = view.parts(event, about)
        if key in parts:
            value = view.evolved(value, event, about.of(key, parts[key]))
            position = recorded.position
    return LiveRow(None if value is None else Row(key, value, position), named.until, named.parked)


def _look_through(rows: RowsAndLines, through: Through, key: str, named: _Named) -> None:
    for found, position, parked in _pages(rows, through, key):
        named.stands(position, parked)
        for row in found:
            named.add(through.streams(row.value))


def _pages(rows: RowsAndLines, through: Through, key: str) -> Iterator[tuple[Sequence[Row], int, int | None]]:
    """Rows, where they stood, and where the first line of parked events begins that they may lack."""
    name = through.view.name
    if through.index == through.view.key:
        [found] = rows.get(name, [key])
        lowest = _lowest_line(rows, name) if found.has_parked_streams else None
        parked = min((one for one in (found.parked, lowest) if one is not None), default=None)
        yield [found.row] if found.row else [], found.position, parked
        return
    cursor = None
    while True:
        page = rows.find(name, Query(where=((through.index, key),), limit=PAGE_ROWS, cursor=cursor))
        yield page.rows, page.position, (page.parked or _lowest_line(rows, name)) if page.has_parked else None
        cursor = page.next
        if cursor is None:
            return


def _lowest_line(rows: RowsAndLines, name: str) -> int | None:
    return min((line.position for line in rows.parked_lines(name)), default=None)


def _events(log: LogAndStreams, view: AnyView, key: str, named: _Named) -> list[Recorded]:
    """Those of its streams that the view listens to, up to where it is folded, in log order."""
    wanted: list[Recorded] = []
    count, size = 0, 0
    left: dict[str, LastEvent | None] = dict.fromkeys(named.streams)
    while left:
        try:
            loaded = log.read(left)
        except Conflict as error:
            raise Unavailable(Neighbour.LOG, "it is another log than a moment ago") from error
        for events in loaded.events.values():
            count, size = count + len(events), size + sum(len(event.data) for event in events)
            wanted += [one for one in events if one.position <= named.until and one.type in view.listened]
        if count > EVENTS_MAX or size > BYTES_MAX:
            most = f"{EVENTS_MAX:,} events, or {BYTES_MAX >> 20} MiB of them"
            raise TooMuchToFold(f"{view.name} of {key!r} is made of more than {most}: {FIX}")
        if not loaded.events:
            break
        left = {stream: _read_up_to(loaded.events.get(stream), left[stream]) for stream in loaded.unread if stream in left}
    return sorted(wanted, key=lambda event: event.position)


def _read_up_to(events: Sequence[Recorded] | None, before: LastEvent | None) -> LastEvent | None:
    return last_of(events) if events else before
