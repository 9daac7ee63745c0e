"""What the rows of a view should be: a fresh fold of the log, kept deliberately simple, to compare with.

rows and where they stand, in one snapshot ──> fold to just there ──> agree, or differ
          ^                                └─> stand behind the fold
          └──────── again, a few times ────────────────┘               then they are left open

So a row that moves on all the time can be compared, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from zlib import crc32

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.errors import BUGS, Unavailable
from twofold.kernel.ports import LogPages, ParkedLines, Rows
from twofold.kernel.rows import Found, Query, Row
from twofold.kernel.view import About, AnyView
from twofold.readmodels.schema.columns import is_stream_key, refuse_key
from twofold.readmodels.schema.query import CheckedQuery
from twofold.subscriptions.log_cache import about_of

PAGE_EVENTS = 1_000
PAGE_ROWS = 500
LOOKS_MAX, LOOK_SECONDS = 50, 0.1
"""How often, and how soon, keys are looked at again whose slice stands behind the fold."""
SNAPSHOT_KEYS = 100
"""So many are read together."""
KEYS_MAX = 20_000
"""So many rows are held in memory at a time."""
VERIFIED_KEYS_MAX = 2_000
"""So many keys of a rebuilt view are compared before it answers: all of a small one, a sample of a larger one."""
DIFFERENCES_MAX = 100
"""So many are told; what is wrong with more of them is wrong with all."""


class Difference(msgspec.Struct, frozen=True):
    """A row that is not what a fresh fold makes of its events. None: there is no such row."""

    key: str
    expected: msgspec.Struct | None
    found: msgspec.Struct | None


class Audit(msgspec.Struct, frozen=True):
    """How many keys were compared, what differs, by key, how many moved on too fast to say, and behind which key to go on.

    `parked`: so many keys of those wait for events that cannot be folded: their rows, if there are any, lack them. A parked
    stream, whose events may be of any key, is told with the first keys. `note` says why there was nothing to compare."""

    checked: int
    differences: list[Difference]
    open: int = 0
    next: str | None = None
    parked: int = 0
    note: str = ""


class FreshFold:
    """Rows by key, held in memory, of the keys that are `wanted`; the log is read page by page, once."""

    def __init__(self, events: LogPages, view: AnyView, codec: Codec, wanted: Callable[[str], bool] = lambda key: True) -> None:
        self._events = events
        self._view = view
        self._codec = codec
        self._wanted = wanted
        self.rows: dict[str, msgspec.Struct] = {}
        self.broken: set[str] = set()
        """Keys of which an event could not be folded, or waits behind one of its stream whose keys nobody could name."""
        self._broken_streams: set[str] = set()
        self.through = 0

    def fold(self, until: int) -> None:
        """Go on, up to and with this position, or to the head if that comes first."""
        while self.through < until:
            page = self._events.page(self.through, min(PAGE_EVENTS, until - self.through))
            if page.through == self.through:
                break
            self.through = page.through
            for recorded in page.events:
                if recorded.type not in self._view.listened:
                    continue
                about = about_of(recorded)
                try:
                    event = self._codec.event(recorded)
                    parts = self._view.parts(event, about)
                    for key in parts:
                        refuse_key(key)
                except Unavailable:
                    raise
                except BUGS:
                    self._broken_streams.add(recorded.stream)
                    continue
                if recorded.stream in self._broken_streams:
                    self.broken |= parts.keys()
                for key, part in parts.items():
                    if key not in self.broken and self._wanted(key):
                        self._evolve(event, msgspec.structs.replace(about, key=key, part=part))

    def _evolve(self, event: object, about: About) -> None:
        try:
            row = self._view.evolved(self.rows.get(about.key), event, about)
        except BUGS:
            self.broken.add(about.key)
            return
        if row is None:
            self.rows.pop(about.key, None)
        else:
            self.rows[about.key] = row


def audit(
    events: LogPages, rows: Rows, lines: ParkedLines, view: AnyView, codec: Codec, after: str = "", limit: int = KEYS_MAX
) -> Audit:
    """Compare the rows of at most `limit` keys behind `after` with a fresh fold of theirs. Rows may move on meanwhile."""
    if not view.is_stored:
        return Audit(0, [], note="nothing of it is stored: every answer is a fresh fold")
    stored = list(islice(keys_of(rows, view, after), limit + 2))
    limit += stored[:1] == [""]  # which no answer can end with: behind it is where the first one begins
    last = stored[limit - 1] if len(stored) > limit else None

    def is_in(key: str) -> bool:
        return (not after or after < key) and (last is None or key <= last)

    compared = _compared(rows, view, FreshFold(events, view, codec, is_in), stored[:limit], last)
    parked = {line.key for line in lines.parked_lines(view.name)}
    told = [key for key in parked if (not after if is_stream_key(key) else is_in(key))]
    return msgspec.structs.replace(compared, parked=len(told))


def verify(events: LogPages, rows: Rows, view: AnyView, codec: Codec, keys_max: int = VERIFIED_KEYS_MAX) -> Audit:
    """Compare a sample with a fresh fold: of every so many keys one, whether they are stored or not."""
    one_in = sum(1 for _ in keys_of(rows, view)) // keys_max + 1

    def is_in(key: str) -> bool:
        return crc32(key.encode(errors="replace")) % one_in == 0

    stored = [key for key in keys_of(rows, view) if is_in(key)]
    return _compared(rows, view, FreshFold(events, view, codec, is_in), stored, None)


def _compared(rows: Rows, view: AnyView, fresh: FreshFold, stored: Sequence[str], last: str | None) -> Audit:
    fresh.fold(min(rows.positions(view.name).values()))
    left = {*stored, *fresh.rows}
    checked, differences = len(left), dict[str, Difference]()
    for look in range(LOOKS_MAX):
        if look:
            time.sleep(LOOK_SECONDS)
        keys = sorted(left)
        for begin in range(0, len(keys), SNAPSHOT_KEYS):
            some = keys[begin : begin + SNAPSHOT_KEYS]
            together = zip(some, rows.get(view.name, some), strict=True)
            for key, found in sorted(together, key=lambda pair: pair[1].position):
                if _is_settled(key, found, fresh, differences):
                    left.remove(key)
        if not left:
            break
    told = [differences[key] for key in sorted(differences)]
    return Audit(checked, told[:DIFFERENCES_MAX], len(left), last)


def keys_of(rows: Rows, view: AnyView, after: str = "") -> Iterator[str]:
    """Every key of a view behind this one, ascending."""
    cursor = CheckedQuery().cursor(Row(after, msgspec.Struct(), 0)) if after else None
    while True:
        page = rows.find(view.name, Query(limit=PAGE_ROWS, cursor=cursor))
        yield from (row.key for row in page.rows)
        cursor = page.next
        if cursor is None:
            return


def _is_settled(key: str, found: Found, fresh: FreshFold, differences: dict[str, Difference]) -> bool:
    """Whether the row can be compared now: its slice does not stand behind the fold, which goes on to where it stands."""
    if key in fresh.broken or found.parked is not None or found.has_parked_streams:
        return True  # told as parked already
    fresh.fold(found.position)
    if fresh.through != found.position:
        return False
    expected, stored = fresh.rows.get(key), None if found.row is None else found.row.value
    if key not in fresh.broken and expected != stored:
        differences[key] = Difference(key, expected, stored)
    return True
