"""One process's ports, each opened when it is first asked for: what embedded and served deployments have in common.

    settings ─> Deployment ─> rooms.py asks it for the ports that a room needs, and only those are opened

So a worker runs without Redis, and a projector without lanes. Ask for ports while a room starts, from one thread; the adapters
themselves are thread-safe. Tables are made by `make_tables` alone, which `migrate` and `up` call. `embedded.py` and `served.py`
say, in the same order, what stands behind each port.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from functools import cached_property
from threading import Event
from typing import Any

import msgspec

import twofold.eventstore.migrate
from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.effects.dispatch import EffectBroker
from twofold.bus.outbox import Outbox
from twofold.eventstore.identity import adopt
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Misconfigured, Unavailable
from twofold.kernel.lanes import LaneState
from twofold.kernel.letters import DeadLetters
from twofold.kernel.ports import Bell, Clock, InlineProjection, Leases, Log, Outcomes, ViewStore
from twofold.kernel.view import AnyView
from twofold.places import log_url
from twofold.readmodels.inline.projection import SqlInlineProjection
from twofold.readmodels.live.store import LiveViewStore
from twofold.readmodels.stores.answering import Answering
from twofold.readmodels.stores.routed import Choose, RoutedViewStore
from twofold.settings import Settings
from twofold.stores import Stores, Where
from twofold.workers.trial import Trial


class SystemClock:
    """Port Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Deployment(ABC):
    """One process's ports, and what embedded and served have in common: where rows are."""

    def __init__(self, settings: Settings, domain: Domain, closing: ExitStack) -> None:
        self.settings = settings
        self.domain = domain
        self.codec = Codec(domain)
        self.clock: Clock = SystemClock()
        self._closing = closing
        self._stores = Stores(settings, closing, lambda: self.events, self._live)

    def make_tables(self, first_lanes: int | None = None) -> None:
        """Bring the log's tables up to date, and make what the views need. Whoever else opens a store finds it, or refuses.
        `first_lanes` are those of a new log, unless the settings say otherwise."""
        twofold.eventstore.migrate.migrate(log_url(self.settings))
        adopt(log_url(self.settings), self.domain, self.settings.lanes, first_lanes)
        _ = self.events  # embedded, this holds the folder for us alone, before anything else in it is written
        self.make_inline_tables()
        away: dict[int, Unavailable] = {}
        unmade = []
        for view in self.domain.views.values():
            store = self._stores.of(view)
            try:
                if id(store) not in away:
                    store.make(view, self.settings.slices)
                    continue
            except Unavailable as error:
                away[id(store)] = error
            unmade.append(view.name)
        if away:
            why = "; ".join(str(error) for error in away.values())
            raise Misconfigured(f"{why}; rows of {', '.join(unmade)} were not made: run `twofold migrate` again when it answers")

    @cached_property
    def rows(self) -> RoutedViewStore:
        """Every view's rows, to be looked at. A store that is away now is asked again when its views are asked for."""
        rows = self.stores_of(self.domain.views.values(), Answering().choose)
        rows.attach_all()
        return rows

    @property
    @abstractmethod
    def events(self) -> Log: ...

    @property
    @abstractmethod
    def inline(self) -> InlineProjection | None: ...

    @abstractmethod
    def make_inline_tables(self) -> None: ...

    @abstractmethod
    def lane_state(self) -> LaneState:
        """How many lanes there are, now."""

    @abstractmethod
    def set_lanes(self, count: int) -> Iterator[LaneState]:
        """Make it so many; what waits goes to them. Gives the state now and then until that is done. May be repeated."""

    @abstractmethod
    def look_after_lanes(self, stop: Event) -> None:
        """Finish, until `stop`, what whoever changed their number did not come to the end of."""

    def working_lanes(self) -> list[str]:
        """The lanes that workers share, by number: those of an epoch are finished before the next one's are begun."""
        return [str(lane) for lane in self.lane_state().working.lanes]

    @property
    @abstractmethod
    def leases(self) -> Leases: ...

    def new_trial(self) -> Trial:
        """For commands of which one may end its process. Where rows are folded inline, that is tried, too."""
        if not self._inline_views:
            return Trial(self.domain.module)
        return Trial(self.domain.module, process="twofold.trying", settings=msgspec.to_builtins(self.settings))

    @abstractmethod
    def rehearsal(self) -> tuple[SqlInlineProjection, Callable[[], AbstractContextManager[Any]]]:
        """The inline views, and the log's raw connection for a block that only reads, beside whoever writes."""

    @property
    @abstractmethod
    def bell(self) -> Bell: ...

    @property
    @abstractmethod
    def outcomes(self) -> Outcomes: ...

    @cached_property
    def command_queue(self) -> Outbox:
        """The gateway's end of the lanes."""
        return self.new_command_queue(self.settings.queue_seconds)

    @abstractmethod
    def new_command_queue(self, queue_seconds_max: float) -> Outbox:
        """An end of the lanes. `await start()` and `await close()` it on the loop that uses it."""

    @property
    @abstractmethod
    def lane_broker(self) -> LaneBroker:
        """The workers' end. To be closed by them."""

    @property
    @abstractmethod
    def effects(self) -> EffectBroker:
        """Port EffectQueue, and its performers' end."""

    @property
    @abstractmethod
    def dead(self) -> DeadLetters: ...

    @abstractmethod
    def depths(self) -> Mapping[str, int]:
        """Messages that wait, by lane; "dead" for the dead letters."""

    def stores_of(self, views: Collection[AnyView], choose: Choose | None = None) -> RoutedViewStore:
        """Stores of its own: what answers need not be what is folded. The log is opened first: it says whose rows these are."""
        _ = self.events
        of = {view.name: self._stores.of(view) for view in views}
        besides = {id(store): store.beside() for store in of.values()}
        stores = RoutedViewStore({view: besides[id(store)] for view, store in of.items()}, views, choose)
        self._closing.callback(stores.close)
        return stores

    def where(self, view: AnyView) -> Where:
        """Where its rows are."""
        return self._stores.where(view)

    def _live(self) -> ViewStore:
        return LiveViewStore(self.events, self.codec, lambda: self.rows)

    @property
    def _inline_views(self) -> list[AnyView]:
        return [view for view in self.domain.views.values() if view.sync == "inline"]
