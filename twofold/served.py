"""Served: PostgreSQL holds the log, RabbitMQ carries lanes and rings; any number of processes of each room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from threading import Event
from typing import Any

import twofold.eventstore.migrate
from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.effects.dispatch import EffectBroker
from twofold.bus.effects.rabbitmq import RabbitEffects
from twofold.bus.outbox import Outbox
from twofold.bus.rabbitmq.bell import RabbitBell
from twofold.bus.rabbitmq.dead import RabbitDeadLetters
from twofold.bus.rabbitmq.publisher import command_queue
from twofold.bus.rabbitmq.resizing import Resizing
from twofold.bus.rabbitmq.topology import lane_depths
from twofold.bus.rabbitmq.transport import RabbitBroker
from twofold.database.postgres import LOG, borrowed, connect
from twofold.deployment import Deployment
from twofold.eventstore.identity import require
from twofold.eventstore.postgres import PostgresLog
from twofold.eventstore.postgres.lane_epochs import PostgresLaneEpochs
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import LaneEpochs, LaneState
from twofold.kernel.letters import DeadLetters
from twofold.kernel.ports import Bell, InlineProjection, Leases, Log, Outcomes
from twofold.readmodels.inline.projection import PostgresInlineProjection, SqlInlineProjection
from twofold.stores import DATABASE_CONNECTIONS


class ServedDeployment(Deployment):
    """The ports of a room that is a process of its own."""

    @cached_property
    def events(self) -> Log:
        return PostgresLog(self._engine)

    @cached_property
    def inline(self) -> InlineProjection | None:
        if not self._inline_views:
            return None
        inline = PostgresInlineProjection(self._inline_views, self.codec)
        with borrowed(self._engine) as connection, connection.transaction():
            inline.attach(connection)
        return inline

    def rehearsal(self) -> tuple[SqlInlineProjection, Callable[[], AbstractContextManager[Any]]]:
        inline = PostgresInlineProjection(self._inline_views, self.codec)

        @contextmanager
        def reading() -> Iterator[Any]:
            with borrowed(self._engine) as connection, connection.transaction():
                yield connection

        with reading() as connection:
            inline.attach(connection)
        return inline, reading

    def make_inline_tables(self) -> None:
        inline = PostgresInlineProjection(self._inline_views, self.codec)
        is_near = False
        while not is_near:
            with borrowed(self._engine) as connection, connection.transaction():
                is_near = inline.build(connection, self.events)
        with borrowed(self._engine) as connection, connection.transaction():
            inline.make(connection, self.events)

    @cached_property
    def leases(self) -> Leases:
        return PostgresLeases(self._engine)

    @cached_property
    def bell(self) -> Bell:
        return self._rings.bell

    @cached_property
    def outcomes(self) -> Outcomes:
        return self._rings.outcomes

    def new_command_queue(self, queue_seconds_max: float) -> Outbox:
        return command_queue(self.settings.broker_url, self._epochs, self.settings.namespace, queue_seconds_max)

    @cached_property
    def lane_broker(self) -> LaneBroker:
        return RabbitBroker(self.settings.broker_url, self._epochs, self.settings.namespace)

    @cached_property
    def effects(self) -> EffectBroker:
        broker = RabbitEffects(self.settings.broker_url, self.settings.namespace, self.domain.effects)
        self._closing.callback(broker.close)
        return broker

    @cached_property
    def dead(self) -> DeadLetters:
        return RabbitDeadLetters(self.settings.broker_url, self.settings.namespace)

    def depths(self) -> Mapping[str, int]:
        state = self.lane_state()
        lanes = [*state.newest.lanes, *(state.old.lanes if state.old else ())]
        return lane_depths(self.settings.broker_url, self.settings.namespace, lanes)

    def lane_state(self) -> LaneState:
        return self._epochs.state()

    def set_lanes(self, count: int) -> Iterator[LaneState]:
        """Raises Misconfigured beside a gateway of release 0.1.0: it puts commands into queues by name, where nobody looks."""
        if any(member.room == "gateway" and not member.version for member in self.leases.members()):
            raise Misconfigured("gateways of release 0.1.0 are running, which would not find the new lanes; upgrade them first")
        return self._resizing.resize(count)

    def look_after_lanes(self, stop: Event) -> None:
        self._resizing.look_after(stop)

    @cached_property
    def _resizing(self) -> Resizing:
        return Resizing(self._epochs, self.settings.broker_url, self.settings.namespace)

    @cached_property
    def _epochs(self) -> LaneEpochs:
        return PostgresLaneEpochs(self._engine)

    @cached_property
    def _rings(self) -> RabbitBell:
        rings = RabbitBell(self.settings.broker_url, self.settings.namespace)
        self._closing.callback(rings.close)
        return rings

    @cached_property
    def _engine(self) -> Any:
        """The log's connections, of which only the event store's room knows more."""
        if not twofold.eventstore.migrate.is_current(self.settings.database_url):
            raise Misconfigured("TWOFOLD_DATABASE_URL: the schema is not up to date; run `twofold migrate`")
        require(self.settings.database_url, self.domain, self.settings.lanes)
        engine = connect(self.settings.database_url, DATABASE_CONNECTIONS, LOG)
        self._closing.callback(engine.dispose)
        return engine
