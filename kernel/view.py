"""The read side of one question: fold events into rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from twofold.kernel.messages import Event, tag_of
from twofold.kernel.zones import utc_in

Store = Literal["sql", "redis", "search"]
Synchronisation = Literal["inline", "async", "live"]


class About(msgspec.Struct, frozen=True, gc=False):
    """What is known about an event beside its facts. `key` and `part` say which row is being folded (see `View.keys`),
    `command_id` which command it is a fact of, `correlation_id` what that one belongs to."""

    position: int
    stream: str
    version: int
    recorded_at: datetime
    key: str = ""
    part: Any = None
    command_id: str = ""
    correlation_id: str = ""

    def of(self, key: str, part: Any) -> About:
        """The same, as it concerns one row."""
        command_id, correlation_id = self.command_id, self.correlation_id
        return About(self.position, self.stream, self.version, self.recorded_at, key, part, command_id, correlation_id)


RowT = TypeVar("RowT", bound=msgspec.Struct)
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Through:
    """Streams that the key of a live view does not name: rows of another view do, those whose `index` (a declared one, or their
    key) is that key. `streams(row)` names them. So the other view has to have reached what a token stands for, too."""

    view: View[Any, Any]
    index: str
    streams: Callable[[Any], Iterable[str]]


@dataclass(frozen=True)
class View(Generic[RowT, EventT]):
    """One read model, written as `View[Row, Event](…)`.

    `row` is a msgspec.Struct whose field `key` holds the row key. `keys(event, about)` names the rows an event touches:
    an iterable of keys, or a mapping of key to the part of the event that concerns it, handed to `evolve` as `about.part`
    (so an order of 2,000 lines is walked once, not once a product). `evolve(row | None, event, about)` returns the next
    row, or None to delete it; pure, and never raises on an event that a decider of this domain can have made. Datetimes of a row
    are in UTC when it is seen again.
    `indexes` are fields one may filter by, `orders` fields one may sort by and ask a range of; an index is an order, too, and
    the key is always both. `compounds` are fields among them that are asked for together, each an index more to be kept: those
    that equal something first, then the one that orders, then those of which a range is asked in that order. Another `revision`
    (a number or a text of yours) has the rows folded anew: give one whenever `keys` or `evolve` come to mean something else.
    With `store="search"` rows are found by the words in their `text` fields, too, and counted by their indexes.

    `sync` says when rows are folded: "async", behind the log; "inline", in the transaction that appends; "live", when they are
    asked for, and never stored: by key alone, from the streams that `streams(key)` names and those that are found `through` rows
    of other views. Both say where every event stands that `keys` gives this key for; they are not looked at otherwise.
    """

    name: str
    key: str
    row: type[RowT]
    on: tuple[type[EventT], ...]
    keys: Callable[[EventT, About], Iterable[str] | Mapping[str, Any]]
    evolve: Callable[[RowT | None, EventT, About], RowT | None]
    indexes: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    store: Store = "sql"
    sync: Synchronisation = "async"
    revision: int | str = 0
    compounds: tuple[tuple[str, ...], ...] = ()
    streams: Callable[[str], Iterable[str]] | None = None
    through: tuple[Through, ...] = ()
    text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("on", "indexes", "orders", "compounds", "through", "text"):
            given = getattr(self, name)
            if isinstance(given, list):
                object.__setattr__(self, name, tuple(tuple(one) if isinstance(one, list) else one for one in given))

    @cached_property
    def listened(self) -> frozenset[str]:
        """The wire names of the events it listens to."""
        return frozenset(tag_of(event) for event in self.on)

    @property
    def is_stored(self) -> bool:
        return self.sync != "live"

    @cached_property
    def follows(self) -> tuple[str, ...]:
        """The views whose progress along the log decides what its rows show: itself, or those that a live one looks through."""
        return tuple(one.view.name for one in self.through) if self.sync == "live" else (self.name,)

    @cached_property
    def evolved(self) -> Callable[[RowT | None, EventT, About], RowT | None]:
        """`evolve`, and the datetimes of the next row in UTC: so every store gives them back, and what is folded on top of a row
        is not to depend on whether it was in memory."""
        evolve, in_utc = self.evolve, utc_in(self.row)
        if in_utc is None:
            return evolve
        return lambda row, event, about: in_utc(evolve(row, event, about))

    def parts(self, event: EventT, about: About) -> Mapping[str, Any]:
        """Key to part for every row this event touches, each key once, in the order given."""
        keys = self.keys(event, about)
        return keys if isinstance(keys, Mapping) else dict.fromkeys(keys)


AnyView: TypeAlias = View[Any, Any]


class SliceId(NamedTuple):
    """The part of a view's rows that is folded and leased as one: keys with slice_of(key, slices) == slice.

    A generation is one build of the view's rows, from position 0; a rebuild makes the next one.
    """

    view: str
    generation: int
    slice: int

    def __str__(self) -> str:
        return f"{self.view}/{self.generation}/{self.slice}"
