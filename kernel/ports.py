"""The architecture on one page: what the rooms ask of each other.

    gateway ── CommandQueue ──> bus ──> workers ── EventStore ──> log ──> readmodels ── ViewStore ──> rows ──> gateway
                    Bell (positions, progress) and Outcomes fly back beside it; Leases say who holds which lane or slice.
What needs a server has an embedded implementation, too, and a suite in tests/contract. All calls are blocking and thread-safe
unless they say otherwise; every one may raise Unavailable. What only the bus asks: `lanes.py`.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from twofold.kernel.builds import Builds
from twofold.kernel.counting import Counting
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Unavailable
from twofold.kernel.log import Appended, Decision, LastEvent, Loaded, NewEvent, Page, ParkedCommand, Recorded, Snapshot
from twofold.kernel.members import Member
from twofold.kernel.outcome import Outcome
from twofold.kernel.parked_keys import ParkedKeys as ParkedKeys
from twofold.kernel.parked_keys import ParkedLines as ParkedLines
from twofold.kernel.rows import Advance, Drain, Found, Generation, Progress, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId

OnAdvanced = Callable[[Sequence[Progress]], None]
Stop = Callable[[], None]  # ends a subscription; may be called from any thread, any number of times


class Inbox(Protocol):
    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        """Of those of these commands that were decided the outcome, one for ever, by id; no entry for any other."""


class EventStore(Inbox, Protocol):
    """What workers ask of the log: look up, read, append."""

    def read(self, after: Mapping[str, LastEvent | None], shapes: Mapping[str, str] | None = None) -> Loaded:
        """Of many streams at once what follows the last event known of each (None: all, or behind a snapshot of its shape here),
        some megabytes. Raises Conflict where that event is not in the log: it is another, or lost its tail. Forget, read anew."""

    def append(
        self, decisions: Sequence[Decision], inline: InlineProjection | None = None, snapshots: Sequence[Snapshot] = ()
    ) -> Appended:
        """Commit a batch, whole or not at all: snapshots, events at gapless positions in the order given, outcomes, inline rows.
        Raises Conflict when a version does not follow its stream's last, or a command has an outcome (unless of an older, parked
        attempt); Unavailable for a cut during COMMIT (the inbox knows) or another set of inline views. All else is a bug."""


class LogPages(Protocol):
    """What a subscription asks of the log: what comes next."""

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        """Events at positions after `after`, ascending, at most `limit` or some megabytes; of these types, if given. Nothing will
        appear at or before its `through`. With types it may be empty and not the last: ask after `through` until it stays."""


class History(LogPages, Protocol):
    """What people ask of the log: where it ends, whether it takes more, one stream, and when things happened."""

    def head(self) -> tuple[int, datetime | None]:
        """The log's last position and when it was recorded, UTC; (0, None) when it is empty."""

    def require_writable(self) -> None:
        """Write, and change nothing. Raises Unavailable when nothing can be kept now: its disk is full, its server only reads."""

    def stream(
        self, stream: str, after: int = 0, limit: int | None = None, to_version: int | None = None, until: datetime | None = None
    ) -> list[Recorded]:
        """One stream's events after version `after`, ascending, at most `limit`, up to a version and a time (with its zone)."""

    def version(self, stream: str) -> int:
        """The stream's last version, 0 when it has no events."""

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        """When the events at these positions were recorded, UTC, by position; no entry for one that is not in the log."""


class ParkedCommands(Protocol):
    """What operators ask about commands that could not be decided."""

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        """At most `limit` parked commands by ascending id, those with an id above `after`."""

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        """One of them; None when there is none of this id."""

    def discard(self, parked_id: int) -> bool:
        """Forget a parked command (its outcome stays). False when there is none."""


class Log(EventStore, History, ParkedCommands, Protocol):
    """The log and the inbox, the only truth: what an adapter implements. Each room is given its part."""


class InlineProjection(Protocol):
    """Inline views, folded inside the append's own transaction. `connection` is the store's, opaque to everybody between."""

    number: int  # the set_number of the generations it folds; beside the log's head stands that of those which have to be

    def folding_seconds(self) -> float:
        """How long whoever folds longest has been at it, what waits for the database apart. From any thread."""

    def attach(self, connection: Any) -> None:
        """Find out which of its views are to be folded now. NotKnown when these are not all that are."""

    def hears(self, events: Sequence[NewEvent]) -> bool:
        """Whether any of its views listens to one of these. What nobody hears needs neither `lock` nor `write`."""

    def lock(self, connection: Any, events: Sequence[NewEvent]) -> Any:
        """Load and lock the rows these events touch, in key order, before the log's head is locked."""

    def write(self, connection: Any, locked: Any, events: Sequence[Recorded]) -> None:
        """Fold the events, which now have positions, and write the rows."""


class CommandQueue(Protocol):
    """The gateway's end of the lanes. Called on the event loop, never blocks."""

    def put(self, envelope: Envelope) -> Future[None]:
        """Done when the command is durable in its lane, in the order of its stream; Unavailable when it may not be: ask again."""

    def refusal(self) -> Unavailable | None:
        """Why a command put now has no chance to be accepted; None when it has one."""

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """To be told of every outcome that is heard: so it knows how fast its lanes become shorter."""

    def overdue(self, since_seconds: float) -> list[str]:
        """Ids of commands that left so long ago and were not heard of, at most one a lane, in the lanes' order: look them up."""

    def queue_seconds(self) -> Mapping[int, float]:
        """By lane, how many seconds a command put now would wait for its worker, as far as one knows."""


class Bell(Protocol):
    """Rings: lossy hints that something moved. Sending never blocks and never raises; a lost ring costs latency only."""

    def ring(self, position: int) -> None:
        """The log's head has reached `position`."""

    def advanced(self, progress: Sequence[Progress]) -> None:
        """These slices' rows and checkpoints are committed up to there."""

    def listen(self, on_ring: Callable[[int], None] | None = None, on_advanced: OnAdvanced | None = None) -> Stop:
        """Call back from the bell's own thread; callbacks must return at once. Stop may be called from anywhere, and again."""


class Outcomes(Protocol):
    """News of decided commands, told to every gateway. As lossy as a ring: the inbox is the truth."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Send them. Never blocks, never raises."""

    def listen(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> Stop:
        """Call back from a thread of the bus; callbacks must return at once."""


class Standing(Protocol):
    """Where the slices of views stand in the log."""

    def positions(self, *views: str) -> dict[SliceId, int]:
        """Checkpoints of these views' generations, or of every view whose store answers: each slice, 0 where it never moved."""

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        """By slice, the mark of the event its checkpoint stands on; "" where none was kept. No entry for what is never behind."""


class Rows(Standing, Counting, Protocol):
    """What a gateway asks of the rows: where they stand, one by its key, a page by a declared index, how many there are."""

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        """One answer for each key, in order; each row and the checkpoint it comes with are from one snapshot."""

    def find(self, view: str, query: Query) -> RowPage:
        """Raises Malformed for a field that is not declared, a value of the wrong type, or a cursor that is not ours. A Search is
        answered with a SearchPage, by the stores that views with `store="search"` are in."""


class Projection(Standing, ParkedLines, Protocol):
    """What a projector asks of the rows: load them, and commit what became of them together with the checkpoint."""

    promises: Promises

    def make(self, view: AnyView, slices: int) -> Generation:
        """Make what the view needs, once, for `migrate` and `up` alone. The generation of its shape, new if there is none."""

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        """Those of these rows that exist, by key."""

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        """The same of several views at once, by view: of each that is asked for, at least one key."""

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """Apply each advance whose slice still stands at `expected`, rows and checkpoint as `promises` says. Those that moved."""

    def drain(self, drain: Drain) -> bool:
        """Apply it, rows and line together. False when the slice or the line is not where it is expected: nothing was changed."""


class ViewStore(Rows, Projection, ParkedKeys, Builds, Protocol):
    """Rows, their builds, checkpoints and parked keys of the views of one store: what an adapter implements."""

    def beside(self) -> ViewStore:
        """Another store on the same rows and connections, which works on no generation yet. Closed with this one."""


class Leases(Protocol):
    """Who holds which lane or slice, settled in the database, by its clock. A lost lease is heard of when it is renewed."""

    def renew(self, member: Member, resources: Sequence[str], term_seconds: float) -> dict[str, int]:
        """Be alive for `term_seconds`, with a fair share of what is wanted: what is held, to its epoch, which grows whenever it
        changes hands. To be called several times a term."""

    def leave(self, room: str, member: str) -> None:
        """Free everything at once; epochs stay. Nothing happens when there is no such member."""

    def members(self) -> list[Member]:
        """Those that are alive, in the order of room and name."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, UTC. Never raises."""
