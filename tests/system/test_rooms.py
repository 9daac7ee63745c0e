"""A room starts with the neighbours it needs and no others. Whole processes, real servers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest

from tests.chaos.rooms import ROOT, Room, wait_until
from tests.environment import environment_of
from tests.servers.namespace import clean
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from twofold.deployment import Deployment
from twofold.followed import of_readmodels
from twofold.kernel.codec import encode
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.settings import Settings
from twofold.shop.stock import AdjustStock
from twofold.wiring import open_deployment
from twofold.workers.execute import Executor

SECONDS_MAX = 30.0
NOBODY = "127.0.0.1:1"
"""An address at which every connection is refused."""


@pytest.fixture
def settings(postgres_url: str, broker_url: str, redis_url: str, unique: str) -> Iterator[Settings]:
    """A migrated deployment of the shop, one of whose views is in Redis."""
    settings = Settings(
        database_url=postgres_url, broker_url=broker_url, redis_url=redis_url, namespace=unique, metrics_port=free_port()
    )
    environment = {"PATH": "", **environment_of(settings)}
    subprocess.run([sys.executable, "-m", "twofold", "migrate"], cwd=ROOT, env=environment, timeout=SECONDS_MAX, check=True)
    yield settings
    clean(broker_url, redis_url, unique)


def test_workers_start_and_decide_while_redis_is_away(settings: Settings, tmp_path: Path) -> None:
    """Commands are decided by the log alone: a store of rows that is down must not stop a shop from selling."""
    envelope = found("85123A", 12)
    without_redis = msgspec.structs.replace(settings, redis_url=f"redis://{NOBODY}/0")
    with running("workers", without_redis, tmp_path) as workers, open_deployment(settings) as deployment:
        asyncio.run(put(deployment, envelope))
        wait_until("decided", lambda: bool(deployment.events.outcomes([envelope.command_id])), SECONDS_MAX, workers.tail)


def test_projectors_start_and_fold_while_the_broker_is_away(settings: Settings, tmp_path: Path) -> None:
    """Rings are hints: without them rows come a little later, and come."""
    without_broker = msgspec.structs.replace(settings, broker_url=f"amqp://{NOBODY}/")
    with running("readmodels", without_broker, tmp_path) as projectors, open_deployment(settings) as deployment:
        execute(deployment, found("85123A", 12))
        wait_until("visible", lambda: on_hand(deployment, "85123A") == 12, SECONDS_MAX, projectors.tail)


def test_views_are_folded_together_where_they_live_together(settings: Settings) -> None:
    """A commit for each store, and not for each kind that a view would like best."""
    with open_deployment(settings) as deployment:
        followed = [view for view in deployment.domain.views.values() if view.sync == "async" and "process_" not in view.name]
        in_sql = [view.store for view in followed if view.store != "redis"]
        assert [[view.store for view in mine] for mine in of_readmodels(deployment).by_store] == [in_sql, ["redis"]]
    with open_deployment(msgspec.structs.replace(settings, redis_url="")) as deployment:
        assert len(of_readmodels(deployment).by_store) == 1


def test_rooms_run_under_a_role_that_may_not_make_tables(settings: Settings, unique: str, tmp_path: Path) -> None:
    """Tables are made by `migrate`: what runs day and night needs no right to change a schema."""
    with restricted_role(settings.database_url, unique) as url:
        with psycopg.connect(libpq(url)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE not_allowed ()")
        restricted = msgspec.structs.replace(settings, database_url=url)
        with (
            running("workers", restricted, tmp_path),
            running("readmodels", restricted, tmp_path) as projectors,
            open_deployment(restricted) as deployment,
        ):
            asyncio.run(put(deployment, found("85123A", 12)))
            wait_until("visible", lambda: on_hand(deployment, "85123A") == 12, SECONDS_MAX, projectors.tail)


def test_a_room_is_not_healthy_before_its_neighbours_have_answered(settings: Settings, tmp_path: Path) -> None:
    """Containers ask its metrics port: a rollout must not take one that is about to give up for one that works."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        unheard = msgspec.structs.replace(settings, database_url=f"postgresql://x@127.0.0.1:{port}/x")
        room = Room("workers", ["workers"], environment_of(unheard), tmp_path)
        room.start()
        try:
            while room.is_alive():
                with pytest.raises(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=1)
                time.sleep(0.1)
        finally:
            room.stop()
        assert "not available: log" in room.tail()


def test_up_is_refused_where_servers_are_named(settings: Settings, tmp_path: Path) -> None:
    """It would look like the served system and be another one."""
    room = Room("up", ["up"], environment_of(settings), tmp_path, free_port())
    room.start()
    with pytest.raises(RuntimeError, match="`twofold up` is embedded; unset TWOFOLD_DATABASE_URL"):
        room.wait_ready()


@contextmanager
def restricted_role(url: str, name: str) -> Iterator[str]:
    """The same database as somebody who may read and write rows, and nothing else."""
    role, password = f"rooms_{name}", "rooms"
    with psycopg.connect(libpq(url), autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        try:
            for schema in ("public", "read"):
                owner.execute(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
                owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
                owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
                owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
            parts = urlsplit(url)
            yield parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
        finally:
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


@contextmanager
def running(room: str, settings: Settings, folder: Path) -> Iterator[Room]:
    process = Room(room, [room], environment_of(settings), folder)
    process.start()
    try:
        yield process
        assert process.is_alive(), process.tail()
    finally:
        process.stop()


def found(sku: str, quantity: int) -> Envelope:
    """The command that so many pieces were found."""
    data = encode(AdjustStock(sku, quantity, "found"))
    return Envelope(
        command_id=new_command_id(),
        type="AdjustStock",
        stream=f"stock-{sku}",
        data=msgspec.Raw(data),
        fingerprint=fingerprint_of("AdjustStock", data),
        accepted_at=datetime.now(UTC),
    )


async def put(deployment: Deployment, envelope: Envelope) -> None:
    """Into its lane, as a gateway does."""
    await deployment.command_queue.start()
    try:
        await deployment.command_queue.put(envelope)
    finally:
        await deployment.command_queue.close()


def execute(deployment: Deployment, envelope: Envelope) -> None:
    """As a worker does."""
    rooms = (deployment.events, deployment.bell, deployment.outcomes, deployment.inline)
    Executor(deployment.domain, deployment.codec, *rooms).execute([envelope])


def on_hand(deployment: Deployment, sku: str) -> int | None:
    (found,) = deployment.rows.get("inventory", [sku])
    return None if found.row is None else found.row.value.on_hand  # type: ignore[attr-defined]
