"""The peer's two actors: `decide` makes one command one transaction, `project` makes one event one row.

Both may run twice for one message: the outcome's primary key makes the second decision silent, the row's version the second
projection. An event that arrives before the one it follows is tried again by Dramatiq's own Retries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dramatiq
import msgspec
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

import bench.domain
from bench.peer.tables import EVENTS, ORDERS, OUTCOMES, ROWS
from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, tag_of
from twofold.kernel.view import About

DECISIONS_MAX = 5
"""Of one command whose stream keeps moving, before Dramatiq tries it again later."""
RETRIES_MAX = 20
BACKOFF_MIN_MS = 20
BACKOFF_MAX_MS = 1_000

_INSERT_EVENTS = insert(EVENTS).returning(EVENTS.c.position, EVENTS.c.recorded_at, sort_by_parameter_order=True)
_PAST = (EVENTS.c.position, EVENTS.c.stream, EVENTS.c.version, EVENTS.c.type, EVENTS.c.data, EVENTS.c.recorded_at)


class TooEarly(Exception):
    """An earlier event of the same order has not been projected yet."""


class TooBusy(Exception):
    """The command's stream moved each time it was decided."""


class Actors:
    """The two actors on one broker. The gateway sends with no engine; a worker has one."""

    def __init__(self, broker: RabbitmqBroker, prefix: str, engine: Engine | None) -> None:
        self._engine = engine
        self._domain = domain_of(bench.domain)
        self._codec = Codec(self._domain)
        options: dict[str, Any] = {
            "broker": broker,
            "max_retries": RETRIES_MAX,
            "min_backoff": BACKOFF_MIN_MS,
            "max_backoff": BACKOFF_MAX_MS,
        }
        self.decide = dramatiq.actor(actor_name="decide", queue_name=f"{prefix}.commands", **options)(self._decide)
        self.project = dramatiq.actor(actor_name="project", queue_name=f"{prefix}.events", **options)(self._project)

    def _decide(self, command_id: str, command_type: str, data: str) -> None:
        """Decide one command and send its events on. One decided before sends them again; a taken version decides again."""
        command = self._codec.command(command_type, data.encode())
        assert self._engine is not None
        for _ in range(DECISIONS_MAX):
            try:
                with self._engine.begin() as connection:
                    facts = self._settle(connection, command_id, command_type, command)
                break
            except IntegrityError:
                with self._engine.connect() as connection:
                    facts = self._facts(connection, EVENTS.c.command_id == command_id)
                    if (
                        connection.execute(select(OUTCOMES.c.status).where(OUTCOMES.c.command_id == command_id)).first()
                        is not None
                    ):
                        break
        else:
            raise TooBusy(command_id)
        for fact in facts:
            self.project.send(**{**fact, "recorded_at": fact["recorded_at"].isoformat()})

    def _settle(self, connection: Connection, command_id: str, command_type: str, command: Command) -> list[dict[str, Any]]:
        """Load the stream, decide, insert the events and the outcome: the transaction of one command. Its events as recorded."""
        decider = self._domain.decider_of[command_type]
        stream = decider.stream_of(command)
        past = self._facts(connection, EVENTS.c.stream == stream)
        state = decider.fold(self._event(fact["type"], fact["data"]) for fact in past)
        status, code = "ignored", None
        facts: list[dict[str, Any]] = []
        try:
            for version, event in enumerate(decider.decided(state, command, datetime.now(UTC)), start=len(past) + 1):
                data = msgspec.to_builtins(event)
                facts.append({"stream": stream, "version": version, "type": tag_of(type(event)), "data": data})
                status = "succeeded"
        except Rejected as rejection:
            status, code = "rejected", rejection.code
        if facts:
            rows = [{**fact, "command_id": command_id} for fact in facts]
            places = connection.execute(_INSERT_EVENTS, rows).mappings()
            facts = [{**fact, **place} for fact, place in zip(facts, places, strict=True)]
        outcome = {
            "command_id": command_id,
            "type": command_type,
            "status": status,
            "code": code,
            "version": len(past) + len(facts),
        }
        connection.execute(insert(OUTCOMES), outcome)
        return facts

    def _project(self, position: int, stream: str, version: int, type: str, data: dict[str, Any], recorded_at: str) -> None:
        """Fold one event into its row, in one transaction."""
        event = self._event(type, data)
        about = About(position, stream, version, datetime.fromisoformat(recorded_at))
        assert self._engine is not None
        with self._engine.begin() as connection:
            for key, part in ORDERS.parts(event, about).items():
                stored = connection.execute(select(ROWS).where(ROWS.c[ORDERS.key] == key).with_for_update()).mappings().first()
                seen = 0 if stored is None else stored["row_version"]
                if seen >= version:
                    continue
                if seen < version - 1:
                    raise TooEarly(f"{key}: event {version} after {seen}")
                old = None if stored is None else msgspec.convert(dict(stored), ORDERS.row)
                row = ORDERS.evolve(old, event, msgspec.structs.replace(about, key=key, part=part))
                values = {**msgspec.to_builtins(row, builtin_types=(datetime,)), "row_version": version}
                statement = upsert(ROWS).values(values)
                changes = {name: statement.excluded[name] for name in values if name != ORDERS.key}
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=[ORDERS.key], set_=changes, where=ROWS.c.row_version < statement.excluded.row_version
                    )
                )

    def _facts(self, connection: Connection, which: Any) -> list[dict[str, Any]]:
        return [dict(fact) for fact in connection.execute(select(*_PAST).where(which).order_by(EVENTS.c.version)).mappings()]

    def _event(self, event_type: str, data: dict[str, Any]) -> Any:
        return msgspec.convert(data, self._domain.events[event_type])


def canonical(codec: Codec, command_type: str, data: bytes) -> str:
    """The command's canonical JSON, checked strictly. Raises Malformed."""
    return encode(codec.command(command_type, data)).decode()


def broker(url: str) -> RabbitmqBroker:
    """Dramatiq's own RabbitMQ broker with its default middleware, persistent messages and publisher confirms."""
    return RabbitmqBroker(url=url, confirm_delivery=True)
