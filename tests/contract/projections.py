"""What projector tests are made of: a log in memory, a domain whose bugs can be switched on, and projectors one can step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from twofold.kernel.codec import Codec, encode_event
from twofold.kernel.decider import AnyDecider, Decider
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Unavailable
from twofold.kernel.log import Meta, Page, Recorded
from twofold.kernel.messages import Event
from twofold.kernel.ports import LogPages, ViewStore
from twofold.kernel.rows import Generation, Progress
from twofold.kernel.view import About, AnyView, SliceId, View
from twofold.readmodels.projection.audit import FreshFold
from twofold.readmodels.projection.projector import Projector
from twofold.subscriptions.log_cache import log_of

BEGIN = datetime(2010, 12, 1, tzinfo=UTC)
SECONDS_MAX = 15.0


class Said(Event, frozen=True):
    """Somebody said a word to everybody in `to`; "" as a word takes their rows away."""

    to: tuple[str, ...]
    word: str


class Noise(Event, frozen=True):
    """Nobody listens to it."""

    volume: int = 0


class Heard(msgspec.Struct, frozen=True):
    """The words in log order: any event lost, doubled or out of order shows."""

    name: str
    words: tuple[str, ...] = ()
    count: int = 0


class Bugs:
    """What is broken in the domain at the moment."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        """`evolve` raises on these."""
        self.huge: set[str] = set()
        """`evolve` makes an int of these that no store can hold."""
        self.nameless: set[str] = set()
        """`keys` raises on these."""
        self.renamed: dict[str, str] = {}
        """`keys` gives another key instead of these."""
        self.lost: set[str] = set()
        """`keys` gives another key for these words."""
        self.unheard: set[str] = set()
        """`keys` gives none for these."""


def domain(bugs: Bugs, store: str = "sql", said: type[Event] = Said) -> tuple[Codec, AnyView, AnyView]:
    """A codec and two views of the same events: `heard` and, folded alike under another name, `also`."""

    def keys(event: Said, about: About) -> dict[str, int]:
        if event.word in bugs.nameless:
            raise LookupError(f"no keys for {event.word}")
        if event.word in bugs.unheard:
            return {}
        if event.word in bugs.lost:
            return {"lost": 0}
        return {bugs.renamed.get(name, name): place for place, name in enumerate(event.to)}

    def evolve(row: Heard | None, event: Said, about: About) -> Heard | None:
        if event.word in bugs.words:
            raise RuntimeError(f"cannot fold {event.word}")
        if event.word == "":
            return None
        said_to = event.to[about.part]
        assert bugs.renamed.get(said_to, said_to) == about.key
        row = row or Heard(about.key)
        return Heard(row.name, (*row.words, event.word), 2**63 if event.word in bugs.huge else row.count + 1)

    heard, also = (
        View(
            name=name,
            key="name",
            row=Heard,
            on=(said,),
            keys=cast(Any, keys),
            evolve=cast(Any, evolve),
            orders=("count",),
            store=cast(Any, store),
        )
        for name in ("heard", "also")
    )
    decider: AnyDecider = Decider("talk", "talk", (), (said, Noise), None, lambda state, command: [], lambda state, event: None)
    module = SimpleNamespace(__name__="talks", DECIDERS=(decider,), VIEWS=(heard, also))
    return Codec(domain_of(cast(Any, module))), heard, also


class Log:
    """Just enough of an event store, in memory. `is_away` makes every read fail."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.reads = 0
        self.away: Exception | None = None

    def append(self, event: Event, stream: str = "talk-1") -> int:
        name, schema_version, data = encode_event(event)
        position = len(self.events) + 1
        meta = Meta("id", "anonymous", schema_version)
        at = BEGIN + timedelta(seconds=position)
        self.events.append(Recorded(position, stream, position, name, data, meta, at))
        return position

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        if self.away is not None:
            raise self.away
        self.reads += 1
        found = self.events[after : after + limit]
        return Page([each for each in found if types is None or each.type in types], found[-1].position if found else after)


class QuietBell:
    """A bell that remembers who advanced, and rings only when told to."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.rings: list[Callable[[int], None]] = []

    def ring(self, position: int) -> None:
        for on_ring in self.rings:
            on_ring(position)

    def advanced(self, progress: Sequence[Progress]) -> None:
        self.progress += progress

    def listen(self, on_ring: Any = None, on_advanced: Any = None) -> Callable[[], None]:
        if on_ring:
            self.rings.append(on_ring)
        return lambda: None


def refold(events: LogPages, view: AnyView, codec: Codec) -> dict[str, msgspec.Struct]:
    """Every row of the view by key, after all events."""
    fresh = FreshFold(events, view, codec)
    while (page := events.page(fresh.through, 1_000)).events:
        fresh.fold(page.through)
    return fresh.rows


def projector(log: Log, store: ViewStore, views: Sequence[AnyView], codec: Codec, page_events: int = 10) -> Projector:
    return Projector(log_of(cast(LogPages, log), codec, views), store, [views], QuietBell(), page_events)


@contextmanager
def running(projector: Projector, slices: Collection[SliceId]) -> Iterator[threading.Event]:
    """A projector at work in a thread of its own, until the block ends."""
    stop = threading.Event()
    projector.hold(slices)
    thread = threading.Thread(target=projector.run, args=(stop,), name="projector under test")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(SECONDS_MAX)
        assert not thread.is_alive(), "the projector does not stop"


def until(claim: Callable[[], object], what: str) -> None:
    """Wait for a claim to become true; fail, naming it, when it does not in time. Who does not answer now is asked again."""
    deadline = time.monotonic() + SECONDS_MAX
    while not _holds(claim):
        assert time.monotonic() < deadline, f"not within {SECONDS_MAX:.0f} s: {what}"
        time.sleep(0.01)


def _holds(claim: Callable[[], object]) -> bool:
    with suppress(Unavailable):
        return bool(claim())
    return False


def reached(store: ViewStore, generation: Generation, position: int) -> Callable[[], bool]:
    return lambda: set(store.positions(generation.view).values()) == {position}


def words(store: ViewStore, view: AnyView, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The words each of these heard; those without a row are left out."""
    rows = store.load(view.name, names)
    return {name: cast(Heard, row.value).words for name, row in rows.items()}
