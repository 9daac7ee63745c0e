"""A stream of 1,000,000 events: what a command on it costs a worker that has never seen it, beside one that has it in memory.

The log is filled through the store, in large batches, so without a snapshot. Then the house is started again and again on it: the
first one folds the stream from its beginning, every other begins with what the one before has kept. In each, other streams come
first, so that connections are open; then one command is asked on the long one, cold; then some more, warm.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec

import twofold.database.postgres
import twofold.database.sqlite_file
import twofold.eventstore.migrate
import twofold.eventstore.postgres
import twofold.eventstore.sqlite
from bench import house
from bench.accounts import ACCOUNT, Account, Deposited
from bench.databases import fresh_database
from bench.house import Running
from bench.processes import HOST
from bench.results import Row
from bench.run import Run
from twofold.kernel.codec import encode_event
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.ports import Log

DOMAIN = "bench.accounts"
EVENTS = 1_000_000
APPEND_EVENTS = 5_000
COLD_REPEATS = 5
WARM = 60
"""Commands on other streams, before; and on the long one, after."""
DECIDED_SECONDS_MAX = 600
LONG = "long"

Open = Callable[[int], AbstractContextManager[Running]]
"""Starts the house on a log of so many events."""


def rows(run: Run) -> list[Row]:
    count = run.count(EVENTS)
    with fresh_database(run.postgres_url) as url:
        twofold.eventstore.migrate.migrate(url)
        engine = twofold.database.postgres.connect(url, 1, twofold.database.postgres.LOG)
        fill(twofold.eventstore.postgres.PostgresLog(engine), count)
        engine.dispose()
        found = _rows(
            run, count, "served", "workers", lambda events: house.served(DOMAIN, url, run.broker_url, run.folder, events)
        )
    data = run.folder / "streams"
    data.mkdir()
    twofold.eventstore.migrate.migrate(f"sqlite:///{data / 'log.db'}")
    file = twofold.database.sqlite_file.SqliteFile(data / "log.db")
    fill(twofold.eventstore.sqlite.SqliteLog(file), count)
    file.close()
    return found + _rows(run, count, "embedded", "up", lambda events: house.embedded(DOMAIN, data, run.folder, events))


def fill(log: Log, count: int) -> None:
    """Append so many events of the long stream."""
    state = Account()
    while state.deposits < count:
        first = state.deposits + 1
        events = [Deposited(LONG, 1, f"reference-{number}") for number in range(first, min(first + APPEND_EVENTS, count + 1))]
        envelope = _envelope(first)
        meta = Meta(envelope.command_id, envelope.command_id, envelope.command_id, "bench")
        made = []
        for version, event in enumerate(events, start=first):
            tag, _, data = encode_event(event)
            made.append(NewEvent(envelope.stream, version, tag, data, meta))
        log.append([Decision(envelope, "succeeded", made[-1].version, tuple(made))])
        state = ACCOUNT.fold(events, state)


def _envelope(first: int) -> Envelope:
    data = msgspec.json.encode({"account": LONG, "amount": 1, "reference": f"reference-{first}"})
    now = datetime.now(UTC)
    return Envelope(new_command_id(), "Deposit", f"account-{LONG}", msgspec.Raw(data), fingerprint_of("Deposit", data), now)


def _rows(run: Run, count: int, kind: str, room: str, start: Open) -> list[Row]:
    first, cold, warm, peaks = list[float](), list[float](), list[float](), list[float]()
    events = count
    for number in range(1 + max(run.repeats, COLD_REPEATS)):
        with start(events) as ours, closing(http.client.HTTPConnection(HOST, ours.port, timeout=60)) as connection:
            before = [_deposit(connection, f"other-{number}", place) for place in range(WARM)]
            (cold if number else first).append(_deposit(connection, LONG, events + 1))
            peaks.append(ours.processes[room].peak_bytes() / 1024 / 1024)
            after = [_deposit(connection, LONG, events + 1 + place) for place in range(1, WARM)]
            warm.append(median(after))
            events += len(before) + len(after) + 1
    at = f"{kind}, a stream of {count:,} events"
    return [
        Row(f"streams-{kind}-first", f"{at}: a command, before there is a snapshot", "ms", tuple(first), "folded whole, once"),
        Row(f"streams-{kind}-cold", f"{at}: a command, cold", "ms", tuple(cold), "the first one of a new worker"),
        Row(f"streams-{kind}-warm", f"{at}: a command, warm", "ms", tuple(warm), "median of one at a time"),
        Row(f"streams-{kind}-peak", f"{at}: memory of a worker that folds it whole", "MiB", (peaks[0],), "peak"),
        Row(f"streams-{kind}-memory", f"{at}: memory of a worker that begins with a snapshot", "MiB", tuple(peaks[1:]), "peak"),
    ]


def _deposit(connection: http.client.HTTPConnection, account: str, number: int) -> float:
    """Milliseconds until its outcome. Raises RuntimeError unless it succeeded."""
    body = msgspec.json.encode({"account": account, "amount": 1, "reference": f"{account}-{number}"})
    begin = time.perf_counter()
    status, answer = _ask(connection, "POST", "/commands/Deposit", body)
    while status == 202 or answer.get("status") == "pending":
        if time.perf_counter() - begin > DECIDED_SECONDS_MAX:
            raise RuntimeError(f"not decided within {DECIDED_SECONDS_MAX} s: {answer}")
        status, answer = _ask(connection, "GET", f"/commands/{answer['command_id']}", None)
    if answer.get("status") != "succeeded":
        raise RuntimeError(f"{status} {answer}")
    return (time.perf_counter() - begin) * 1000


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, body, {"Content-Type": "application/json", "Prefer": "wait=30"})
    answer = connection.getresponse()
    return answer.status, msgspec.json.decode(answer.read())
