"""A stream of 1,000,000 events: what a command on it costs a worker that has never seen it, beside one that has it in memory.

The log is filled through the store, in large batches, so without a snapshot. The house is started on it twice: the first one
folds the stream from its beginning, the second begins with what the first has kept. There the worker is given so many other
streams, again and again, that it has forgotten the long one; then a command is asked on that, cold; then some more, warm. Over
the rounds the snapshot is from none to all of the events old after which the next one is due.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import partial
from statistics import median, quantiles
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
from bench.processes import HOST, wait_until
from bench.results import Row
from bench.run import Run
from twofold.kernel.codec import encode_event
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.ports import Log
from twofold.workers.deciding import STATES_MAX

DOMAIN = "bench.accounts"
EVENTS = 1_000_000
APPEND_EVENTS = 5_000
ROUNDS = 20
WARM = 5
"""Commands on the long stream after the cold one, in each round."""
FIRST = 60
"""Commands on other streams when the house has started, so that connections are open."""
SETTLING = 20
"""Commands on another stream before the cold one: what a burst leaves behind (checkpoints, wider windows) is not the stream's."""
FORGOTTEN = STATES_MAX // 1_000 + 1
"""Bulk posts, of a thousand new streams each, after which a worker knows none of before."""
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
        meta = Meta(envelope.command_id, "bench")
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
    peaks, cold, warm = list[float](), list[float](), list[float]()
    firsts, events = list[float](), count
    for number in range(2):
        with start(events) as ours, closing(http.client.HTTPConnection(HOST, ours.port, timeout=60)) as connection:
            for place in range(FIRST):
                _deposit(connection, f"other-{number}", place)
            firsts.append(_deposit(connection, LONG, count + 1 + number))
            peaks.append(ours.processes[room].peak_bytes() / 1024 / 1024)
            events += FIRST + 1
            for turn in range(number * ROUNDS):
                events += _forget(connection, turn)
                wait_until("the log", partial(ours.shows, events), DECIDED_SECONDS_MAX, ours.members)
                for place in range(SETTLING):
                    _deposit(connection, f"settling-{turn}", place)
                times = [_deposit(connection, LONG, events + place) for place in range(1 + WARM)]
                cold.append(times[0])
                warm.append(median(times[1:]))
                events += SETTLING + len(times)
    at = f"{kind}, a stream of {count:,} events"
    return [
        Row(f"streams-{kind}-whole", f"{at}: a command, before there is a snapshot", "ms", (firsts[0],), "folded whole, once"),
        Row(f"streams-{kind}-new", f"{at}: a command at a new worker", "ms", (firsts[1],), "its first on the stream"),
        Row(f"streams-{kind}-cold", f"{at}: a command, cold", "ms", _quartiles(cold), f"quartiles of {ROUNDS}"),
        Row(f"streams-{kind}-warm", f"{at}: a command, warm", "ms", _quartiles(warm), f"quartiles of {ROUNDS} × {WARM}"),
        Row(f"streams-{kind}-peak", f"{at}: memory of a worker that folds it whole", "MiB", (peaks[0],), "peak"),
        Row(f"streams-{kind}-memory", f"{at}: memory of a worker that begins with a snapshot", "MiB", (peaks[1],), "peak"),
    ]


def _forget(connection: http.client.HTTPConnection, turn: int) -> int:
    """Have the worker decide on so many new streams. How many events that are."""
    for post in range(FORGOTTEN):
        accounts = [f"new-{turn}-{post}-{number}" for number in range(1_000)]
        items = [{"type": "Deposit", "data": {"account": name, "amount": 1, "reference": name}} for name in accounts]
        status, answer = _ask(connection, "POST", "/commands", msgspec.json.encode(items))
        if status != 202 or len(answer["accepted"]) != len(items):
            raise RuntimeError(f"{status} {str(answer)[:300]}")
    return FORGOTTEN * 1_000


def _quartiles(values: list[float]) -> tuple[float, ...]:
    return tuple(quantiles(values, n=4))


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
