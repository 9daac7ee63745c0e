"""What goes into a view store and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from twofold.kernel.view import SliceId

GenerationState = Literal["building", "live", "retired", "dropped"]


class Generation(msgspec.Struct, frozen=True):
    """One build of a view's rows: its number, from 1, and into how many slices it is cut, fixed when it was made.

    At most one of a view is live, and at most one is being built beside it (see kernel/builds.py).
    """

    view: str
    number: int
    slices: int
    state: GenerationState = "live"

    def slice_ids(self) -> list[SliceId]:
        return [SliceId(self.view, self.number, number) for number in range(self.slices)]


def set_number(generations: Iterable[Generation]) -> int:
    """One number for a set of builds, which fits 64 bits: 0 for none, and hardly ever the same for two sets."""
    names = sorted(f"{generation.view}/{generation.number}" for generation in generations)
    return int.from_bytes(blake2b(",".join(names).encode(), digest_size=7).digest()) if names else 0


class Row(msgspec.Struct, frozen=True):
    """A row as it is stored. `position` is that of the last event folded into it: the row's version, part of its ETag."""

    key: str
    value: msgspec.Struct
    position: int


class Advance(msgspec.Struct, frozen=True):
    """One slice's step over the log: applied whole if its checkpoint still is `expected`, else not at all.

    `rows` holds the touched rows, None for deleted ones; `waiting` events (key to positions, ascending) that stand in line behind
    a parked key, the poison event itself first; `errors` says why a key of them is parked from now on. `lines` says where the
    lines of parked keys begin that this step relies on, as far as the projector knows: it is refused, too, when one of them does
    not, because draining a line changes rows and leaves the checkpoint where it is. `recorded_at` has one entry for each event
    folded, for measuring visibility. `mark` is the mark (kernel/ids.py) of the event at `position`, kept with the checkpoint.
    """

    slice: SliceId
    expected: int
    position: int
    rows: Mapping[str, Row | None]
    waiting: Mapping[str, list[int]] = {}
    errors: Mapping[str, str] = {}
    lines: Mapping[str, int] = {}
    recorded_at: tuple[datetime, ...] = ()
    mark: str = ""


class Drain(msgspec.Struct, frozen=True):
    """Works off the line behind one parked key, as far as it can be folded; the checkpoint stays where it is.

    Applied whole if the slice's checkpoint still is `expected` and the line still begins at `first`, else not at all. `rows`
    are those that its events touch; `through` is the last position that is gone from the line, folded or discarded (None: none
    is). The key is parked no longer when `is_done`; otherwise the line begins at its next event, and `error` says why that one
    cannot be folded: one attempt more ("": there was no time to try).
    """

    slice: SliceId
    expected: int
    key: str
    first: int
    rows: Mapping[str, Row | None] = {}
    through: int | None = None
    is_done: bool = False
    error: str = ""
    recorded_at: tuple[datetime, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """The answer to a query by key, all of it read in one snapshot: the row or None, and the checkpoint of its slice.

    `parked`: where the line of events begins that wait behind this key and are not in the row. `has_parked_streams`: whether
    events of some stream wait in this slice because nobody could say which keys they touch.
    """

    row: Row | None
    slice: SliceId
    position: int
    parked: int | None = None
    has_parked_streams: bool = False


CURSOR_CHARS_MAX = 8_192
"""Room for the longest key and the longest order value, in base64."""


PAGE_ROWS_MAX = 1_000
"""Rows in one page."""


class Range(msgspec.Struct, frozen=True):
    """Half open: what is at `start` is in it, what is at `end` is not; None is no bound. An absent value is in no range."""

    field: str
    start: Any = None
    end: Any = None


class Query(msgspec.Struct, frozen=True):
    """A question by what is declared: rows in which each field of `where` equals its value and each of `ranges` holds, all of
    them, ordered, `limit` a page. Fields of `where` are indexes or the key; those of `ranges`, and `order`, orders, too.

    Without an `order` rows come in that of the range, or of the key; ties are broken by the key. `cursor` is opaque, from the
    last page.
    """

    where: tuple[tuple[str, Any], ...] = ()
    ranges: tuple[Range, ...] = ()
    order: str | None = None
    descending: bool = False
    limit: int = 50
    cursor: str | None = None


class RowPage(msgspec.Struct, frozen=True):
    """Rows in the order asked for; `next` is None on the last page, and may be set behind fewer rows than were asked for, where a
    store has looked at as many as it may for one page; `position` is the lowest checkpoint of the view's slices;
    `has_parked`: whether some of its keys are parked; `parked`: where the first of their lines begins, where the store says so.
    All of it is read in one snapshot."""

    rows: list[Row]
    next: str | None
    position: int
    has_parked: bool = False
    parked: int | None = None


class Search(Query, frozen=True):
    """A question to a view in the store `search`: rows in which every word of `q` occurs as well; `lamp*`: one that begins so.

    Without an `order` the best come first; without a word in it `q` finds nothing, and an empty one everything. How many of all
    rows found have which value is told of the indexes in `facets`. `highlight`: show where.
    """

    q: str = ""
    facets: tuple[str, ...] = ()
    highlight: bool = False


class SearchPage(RowPage, frozen=True):
    """`total` rows were found, however many are in `rows`. `facets`: by field, the most frequent values with their counts, the
    most frequent first; rows without a value are not counted. `scores` are of `rows`, in order: higher is better, only within
    this answer, and None where nothing was searched for. `highlights` are of `rows`, too: by field, pieces of its text as HTML,
    with the words that were found in <em>."""

    total: int = 0
    facets: dict[str, dict[str, int]] = {}
    scores: list[float | None] = []
    highlights: list[dict[str, list[str]]] = []


STREAM_PREFIX = "!stream/"
"""Begins the key under which a stream's events wait when `View.keys` raised on one of them. No row key may begin so. On disk."""
REKEYED = "keys no longer gives this key"
"""What the error of a parked key begins with whose next event concerns other rows by now, as a retry has found."""


class ParkedKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row key whose next event could not be folded. `waiting` counts the events in line, the poison one included."""

    slice: SliceId
    key: str
    position: int
    error: str
    waiting: int
    attempts: int
    parked_at: datetime
    retry_requested: bool = False
    discard_requested: bool = False


class ParkedLine(msgspec.Struct, frozen=True):
    """Where the line of a parked key begins, and what an operator has asked for: "retry", "discard" or "". Cheap to read."""

    slice: SliceId
    key: str
    position: int
    request: str = ""


class Promises(msgspec.Struct, frozen=True):
    """What a store of rows can do, as data: the suite of tests/contract reads it, and so may whoever chooses a store.

    `is_atomic`: rows move with their checkpoint in one step, or not at all. A store that is not (a search index) has its
    checkpoints elsewhere and writes rows by their version instead: docs/decisions/0010 says how that stays exact.
    `commits_views_together`: so do advances of several views in one commit. `needs_making`: rows must have been made before
    anybody attaches; a store that may lose everything and needs no tables makes them anew instead, empty, to be folded again.
    What nobody reads is not promised here: every store orders absent values first.
    """

    is_atomic: bool
    commits_views_together: bool
    needs_making: bool = True


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far a slice is: told to gateways by the projector that moved it."""

    view: str
    generation: int
    slice: int
    position: int
