"""The house in process, without HTTP or broker: commands in, decided and appended, in batches as the lanes coalesce them.

The same commands in the same order as the library's (bench/library.py). What the gateway does to each one (strict decoding,
canonical JSON, fingerprint, envelope) is inside the measured time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

import bench.domain
import twofold.database.postgres
import twofold.database.sqlite_file
import twofold.eventstore.migrate
import twofold.eventstore.postgres
import twofold.eventstore.sqlite
from bench import library, orders
from bench.databases import fresh_database
from bench.results import Row
from bench.run import Run
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope
from twofold.kernel.ids import new_command_id
from twofold.kernel.ports import Log
from twofold.workers.execute import Executor

BATCHES = (1, 64, 500)
"""1: nothing gathers. 64: what 64 clients with one command under way each can give. 500: bulk posts."""
COMMANDS = {1: 1_024, 64: 8_192, 500: 16_384}
LIBRARY_COMMANDS = 2_048
TOGETHER = 64
CONNECTIONS = 2
FILL = "fill"
"""Prefix of the orders that `fill` places."""


def rows(run: Run) -> list[Row]:
    """Ours and the library's, on the same PostgreSQL server and on files in the same folder."""
    found = []
    with fresh_database(run.postgres_url) as url:
        twofold.eventstore.migrate.migrate(url)
        engine = twofold.database.postgres.connect(url, CONNECTIONS, twofold.database.postgres.LOG)
        found += _ours(run, twofold.eventstore.postgres.PostgresLog(engine), "postgres", "PostgreSQL")
        engine.dispose()
    path = run.folder / "inprocess.db"
    twofold.eventstore.migrate.migrate(f"sqlite:///{path}")
    file = twofold.database.sqlite_file.SqliteFile(path)
    found += _ours(run, twofold.eventstore.sqlite.SqliteLog(file), "sqlite", "SQLite")
    file.close()
    return found + _library(run)


def fill(events: Log, count: int) -> None:
    """Append so many events of orders, in large batches."""
    _commands_per_second(events, FILL, count, max(BATCHES))


def _ours(run: Run, events: Log, key: str, label: str) -> list[Row]:
    found = []
    for batch in BATCHES:
        values = tuple(
            _commands_per_second(events, f"{key}{batch}r{number}", run.count(COMMANDS[batch]), batch)
            for number in range(run.repeats)
        )
        found.append(Row(f"inprocess-{key}-{batch}", f"in process on {label}, batches of {batch}", "commands/s", values))
    return found


def _commands_per_second(events: Log, prefix: str, count: int, batch: int) -> float:
    """Raises AssertionError when an outcome is another than "succeeded" or the log has not grown by one event each."""
    domain = domain_of(bench.domain)
    codec = Codec(domain)
    executor = Executor(domain, codec, events, LocalBell(), LocalOutcomes())
    before, _ = events.head()
    begin = time.perf_counter()
    commands = _commands(prefix, count)
    done = 0
    while envelopes := [_envelope(codec, kind, fields) for kind, fields in islice(commands, batch)]:
        outcomes = executor.execute(envelopes)
        done += sum(outcome.status == "succeeded" for outcome in outcomes)
    seconds = time.perf_counter() - begin
    after, _ = events.head()
    assert done == after - before == count // 2 * 2, f"{done} succeeded, {after - before} events, {count} asked"
    return done / seconds


def _commands(prefix: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for numbers in library.rounds(count // 2):
        yield from (("PlaceOrder", orders.place_order(prefix, number)) for number in numbers)
        yield from (("UpdateShippingAddress", orders.update_address(prefix, number)) for number in numbers)


def _envelope(codec: Codec, kind: str, fields: dict[str, Any]) -> Envelope:
    data = encode(codec.command(kind, msgspec.json.encode(fields)))
    stream = f"order-{fields['order_id']}"
    return Envelope(new_command_id(), kind, stream, msgspec.Raw(data), codec.fingerprint(kind, data), datetime.now(UTC))


def _library(run: Run) -> list[Row]:
    count = run.count(LIBRARY_COMMANDS)
    found: list[Row] = []
    for key, label, db_functions in (
        ("library-postgres", "eventsourcing on PostgreSQL, its default", False),
        ("library-postgres-functions", "eventsourcing on PostgreSQL, with its stored functions", True),
    ):
        with fresh_database(run.postgres_url) as url, library.on_postgres(url, db_functions) as application:
            found += _saves(run, application, key, label, count)
    with library.on_sqlite(str(run.folder / "library.db")) as application:
        found += _saves(run, application, "library-sqlite", "eventsourcing on SQLite", count)
    return found


def _saves(run: Run, application: library.Orders, key: str, label: str, count: int) -> Sequence[Row]:
    library.saves_per_second(application, "warm", min(count, 256))
    one = tuple(library.saves_per_second(application, f"one{number}", count) for number in range(run.repeats))
    joint = tuple(library.joint_saves_per_second(application, f"joint{number}", count, TOGETHER) for number in range(run.repeats))
    return [
        Row(key, label, "saves/s", one),
        Row(
            f"{key}-together",
            f"{label}, {TOGETHER} new aggregates a save",
            "aggregates/s",
            joint,
            "not how it is used; for comparison",
        ),
    ]
