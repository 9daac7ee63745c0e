"""Which adapters stand behind the ports: embedded or served, by which URLs are set. The one place that knows both.

settings ─> House: domain, codec, events, views, leases, bell, outcomes, inline ─> rooms.py gives each room its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import twofold.bus.embedded.transport
import twofold.bus.rabbitmq.broker
import twofold.database.postgres
import twofold.database.sqlite_file
import twofold.eventstore.migrate
import twofold.eventstore.postgres
import twofold.eventstore.sqlite
import twofold.readmodels.stores.redis
import twofold.readmodels.stores.sql
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.bus.rabbitmq.bell import RabbitBell
from twofold.database.postgres import borrowed
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.leases import MemoryLeases
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain, load_domain
from twofold.kernel.errors import Misconfigured
from twofold.kernel.ports import Bell, InlineProjection, LaneTable, Leases, Log, Outcomes, ViewStore
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.inline.projection import PostgresInlineProjection, SqliteInlineProjection
from twofold.readmodels.inline.store import InlineViewStore
from twofold.readmodels.stores.routed import RoutedViewStore
from twofold.readmodels.stores.sql import SqlViewStore
from twofold.settings import Settings

DATABASE_CONNECTIONS = 8


class SystemClock:
    """Port Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class House:
    """One process's view of the deployment. `lane_table` is there when embedded; `generations` are the prepared views."""

    settings: Settings
    domain: Domain
    codec: Codec
    clock: SystemClock
    events: Log
    views: ViewStore
    leases: Leases
    bell: Bell
    outcomes: Outcomes
    inline: InlineProjection | None
    generations: Mapping[str, Generation]
    depths: Callable[[], Mapping[str, int]]
    lane_table: LaneTable | None


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Connect everything; disconnect it, last first, when the block ends. Raises Misconfigured or Unavailable."""
    domain = load_domain(settings.domain_module)
    for view in domain.views.values():
        if view.sync == "live" or view.store == "search":
            raise Misconfigured(f"{settings.domain}: view {view.name}: {view.sync}/{view.store} views are not built yet")
    with ExitStack() as closing:
        build = _embedded if settings.is_embedded else _served
        yield build(settings, domain, Codec(domain), closing)


def log_url(settings: Settings) -> str:
    return settings.database_url or f"sqlite:///{_folder(settings) / 'log.db'}"


def rows_url(settings: Settings) -> str:
    return settings.read_database_url or settings.database_url or f"sqlite:///{_folder(settings) / 'views.db'}"


def migrate(settings: Settings) -> None:
    """Bring the log's schema up to date and make what the views need. Embedded, opening the house does both."""
    if not settings.is_embedded:
        twofold.eventstore.migrate.migrate(log_url(settings))
    with open_house(settings):
        pass


def _folder(settings: Settings) -> Path:
    folder = Path(settings.data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"TWOFOLD_DATA={folder}: cannot be made ({error.strerror}); name a writable folder") from error
    return folder.resolve()


def _embedded(settings: Settings, domain: Domain, codec: Codec, closing: ExitStack) -> House:
    twofold.eventstore.migrate.migrate(log_url(settings))
    file = twofold.database.sqlite_file.SqliteFile(_folder(settings) / "log.db")
    closing.callback(file.close)
    events = twofold.eventstore.sqlite.SqliteLog(file)
    lane_table = SqliteLaneTable(file)
    inline = SqliteInlineProjection(_inline(domain), codec) if _inline(domain) else None
    if inline is not None:
        file.write(lambda writer: inline.prepare(writer, events))
    views, generations = _prepared(settings, domain, closing)
    return House(
        settings=settings,
        domain=domain,
        codec=codec,
        clock=SystemClock(),
        events=events,
        views=views,
        leases=MemoryLeases(),
        bell=LocalBell(),
        outcomes=LocalOutcomes(),
        inline=inline,
        generations=generations,
        depths=lambda: _all_lanes(settings.lanes, lane_table.depths()),
        lane_table=lane_table,
    )


def _served(settings: Settings, domain: Domain, codec: Codec, closing: ExitStack) -> House:
    if not twofold.eventstore.migrate.is_current(settings.database_url):
        raise Misconfigured("TWOFOLD_DATABASE_URL: the schema is not up to date; run `twofold migrate`")
    engine = twofold.database.postgres.connect(settings.database_url, DATABASE_CONNECTIONS, twofold.database.postgres.LOG)
    closing.callback(engine.dispose)
    events = twofold.eventstore.postgres.PostgresLog(engine)
    inline = PostgresInlineProjection(_inline(domain), codec) if _inline(domain) else None
    if inline is not None:
        with borrowed(engine) as connection, connection.transaction():
            inline.prepare(connection, events)
    views, generations = _prepared(settings, domain, closing)
    rings = RabbitBell(settings.broker_url, settings.namespace)
    closing.callback(rings.close)
    return House(
        settings=settings,
        domain=domain,
        codec=codec,
        clock=SystemClock(),
        events=events,
        views=views,
        leases=PostgresLeases(engine),
        bell=rings.bell,
        outcomes=rings.outcomes,
        inline=inline,
        generations=generations,
        depths=lambda: twofold.bus.rabbitmq.broker.lane_depths(settings.broker_url, settings.namespace, settings.lanes),
        lane_table=None,
    )


def _all_lanes(lanes: int, waiting: Mapping[int, int]) -> dict[str, int]:
    """Batches by lane; 0 for a lane without any."""
    return {str(lane): waiting.get(lane, 0) for lane in range(lanes)}


def _inline(domain: Domain) -> list[AnyView]:
    return [view for view in domain.views.values() if view.sync == "inline"]


def _prepared(settings: Settings, domain: Domain, closing: ExitStack) -> tuple[ViewStore, dict[str, Generation]]:
    """The views' stores behind one port, every view's rows ready to be folded. Inline rows stand beside the log."""
    sql = SqlViewStore(twofold.readmodels.stores.sql.connect(rows_url(settings), DATABASE_CONNECTIONS))
    closing.callback(sql.close)
    stores: dict[str, ViewStore] = dict.fromkeys(domain.views, sql)
    if settings.redis_url:
        redis = twofold.readmodels.stores.redis.connect(settings.redis_url, settings.namespace)
        closing.callback(redis.close)
        stores |= {view.name: redis for view in domain.views.values() if view.store == "redis"}
    if _inline(domain):
        beside_the_log = twofold.readmodels.stores.sql.connect(log_url(settings), DATABASE_CONNECTIONS)
        closing.callback(beside_the_log.dispose)
        stores |= dict.fromkeys([view.name for view in _inline(domain)], InlineViewStore(beside_the_log))
    routed = RoutedViewStore(stores)
    return routed, {view.name: routed.prepare(view, settings.slices) for view in domain.views.values()}
