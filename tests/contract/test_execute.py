"""What `execute` promises, on every log: one permanent outcome for each command, however it is repeated, raced or broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from types import ModuleType

import msgspec
import pytest
from structlog.testing import capture_logs

import examples.counter
from tests.named import id_of
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.database.postgres import LOG, connect
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres import PostgresLog
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import NotKnown, Rejected
from twofold.kernel.ids import new_command_id
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Log
from twofold.testing.memory_log import MemoryLog
from twofold.workers.execute import Executor

DOMAIN = domain_of(examples.counter)


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def events(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    if request.param == "memory":
        yield MemoryLog()
    elif request.param == "sqlite":
        migrate(f"sqlite:///{tmp_path / 'log.db'}")
        file = SqliteFile(tmp_path / "log.db")
        yield SqliteLog(file)
        file.close()
    else:
        url = request.getfixturevalue("postgres_url")
        migrate(url)
        engine = connect(url, 4, LOG)
        yield PostgresLog(engine)
        engine.dispose()


def executor(events: Log, told: list[Outcome] | None = None) -> Executor:
    outcomes = LocalOutcomes()
    outcomes.listen(lambda news: told.extend(news) if told is not None else None)
    return Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), outcomes)


def asked(by: int = 1, counter: str = "a", command_id: str | None = None, attempt: int = 1) -> Envelope:
    data = msgspec.json.encode({"counter_id": counter, "by": by})
    identity = command_id or new_command_id()
    stream = f"counter-{counter}"
    now = datetime.now(UTC)
    return Envelope(identity, "Count", stream, msgspec.Raw(data), fingerprint_of("Count", data), now, attempt=attempt)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_a_command_delivered_twice_has_its_first_outcome_and_one_effect(events: Log) -> None:
    """Brokers deliver again after every crash; nothing may be done twice."""
    told: list[Outcome] = []
    command = asked(by=5)
    first = executor(events, told).execute([command])
    again = executor(events, told).execute([command, command])
    assert again == first and told == [*first, *again]
    assert len(events.stream("counter-a")) == 1


def test_outcomes_say_what_a_view_must_have_reached(events: Log) -> None:
    """An ignored or rejected command's position is the last one it saw: waiting for it shows what made it so."""
    one, ignored, rejected, two = executor(events).execute([asked(1), asked(0), asked(5_000), asked(2)])
    assert statuses([one, ignored, rejected, two]) == ["succeeded", "ignored", "rejected", "succeeded"]
    assert [o.position for o in (one, ignored, rejected, two)] == [1, 1, 1, 2]
    assert (rejected.code, rejected.details) == ("out-of-range", {"count": 1, "limit": 1000})


def test_a_state_another_worker_moved_is_seen_before_a_rejection(events: Log) -> None:
    """A rejection appends nothing, so no version check would catch a stale state."""
    here, there = executor(events), executor(events)
    here.execute([asked(1)])
    there.execute([asked(998)])
    assert statuses(here.execute([asked(2)])) == ["rejected"]


def test_an_idempotency_key_reused_in_the_same_instant_keeps_the_first_body_and_reports_the_second(events: Log) -> None:
    """Neither dropped in silence, nor able to change what the first body did, nor reported again when delivered again."""
    first = asked(1)
    second = asked(2, command_id=first.command_id)
    for _ in range(2):
        outcomes = executor(events).execute([first, second])
        assert statuses(outcomes) == ["succeeded"]
    parked = events.parked()
    assert [(p.reason, p.envelope.fingerprint) for p in parked] == [("key-reused", second.fingerprint)]
    assert len(events.stream("counter-a")) == 1


def test_a_command_the_log_cannot_store_is_parked_alone(events: Log) -> None:
    """What breaks only while appending must not stop a lane for ever, nor hurt its neighbours."""

    def refuse(count: int, command: examples.counter.Count) -> list[examples.counter.Counted]:
        if command.by == 13:
            raise Rejected("unlucky", why=object())
        return examples.counter.decide(count, command)

    module = ModuleType("unlucky")
    module.DECIDERS = (replace(examples.counter.COUNTER, decide=refuse),)  # type: ignore[attr-defined]
    module.VIEWS = ()  # type: ignore[attr-defined]
    domain = domain_of(module)
    unlucky = Executor(domain, Codec(domain), events, LocalBell(), LocalOutcomes())
    outcomes = unlucky.execute([asked(1), asked(13), asked(2)])
    assert statuses(outcomes) == ["succeeded", "parked", "succeeded"]
    assert "TypeError" in events.parked()[0].error


@pytest.mark.parametrize("breaks", ["deciding", "appending"])
def test_a_bug_that_parks_many_commands_tells_once_where_it_is_and_never_what_they_carry(events: Log, breaks: str) -> None:
    """Whoever is woken reads one traceback, not thousands; and a log is no place for what customers write."""

    def refuse(count: int, command: examples.counter.Count) -> list[examples.counter.Counted]:
        if breaks == "deciding":
            raise LookupError(f"card number {command.by}")
        raise Rejected("unlucky", why=object())

    module = ModuleType("unlucky")
    module.DECIDERS = (replace(examples.counter.COUNTER, decide=refuse),)  # type: ignore[attr-defined]
    module.VIEWS = ()  # type: ignore[attr-defined]
    domain = domain_of(module)
    unlucky = Executor(domain, Codec(domain), events, LocalBell(), LocalOutcomes())
    first = asked(13, command_id=id_of("first"))
    with capture_logs() as logs:
        assert statuses(unlucky.execute([first, asked(13), asked(13, "b")])) == ["parked"] * 3
        unlucky.execute([first])
        unlucky.execute([msgspec.structs.replace(first, attempt=2)])
    parked = [log for log in logs if log["event"] == "parked"]
    assert [log["command_id"] for log in parked].count(id_of("first")) == 2 and len(parked) == 4
    (places,) = [log["traceback"] for log in parked if "traceback" in log]
    assert places[-1] in ("LookupError", "TypeError") and "in " in places[0]
    assert "card number" not in str(logs)
    assert all("card number 13" in one.error for one in events.parked()) or breaks == "appending"


def test_a_parked_command_is_decided_anew_by_a_later_attempt(events: Log) -> None:
    """Its old delivery, coming again after the retry, finds the outcome and changes nothing."""
    unreadable = msgspec.structs.replace(asked(3), data=msgspec.Raw(b'{"counter_id": "a", "by": "many"}'))
    (parked,) = executor(events).execute([unreadable])
    assert (parked.status, parked.code) == ("parked", "malformed")
    (entry,) = events.parked()
    assert "many" not in entry.error and entry.envelope.command_id == unreadable.command_id
    mended = asked(3, command_id=unreadable.command_id, attempt=2)
    assert statuses(executor(events).execute([mended])) == ["succeeded"]
    assert statuses(executor(events).execute([unreadable, mended])) == ["succeeded"]
    assert events.parked() == [] and len(events.stream("counter-a")) == 1


def test_workers_that_race_for_the_same_commands_do_each_of_them_once(events: Log) -> None:
    """A zombie and its successor: versions run 1..n and every command has one outcome."""
    commands = [asked(1) for _ in range(40)]
    threads = [Thread(target=lambda: [executor(events).execute(commands[i : i + 4]) for i in range(0, 40, 4)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded = events.stream("counter-a")
    assert [event.version for event in recorded] == list(range(1, 41))
    assert [event.meta.command_id for event in recorded] == [command.command_id for command in commands]
    assert events.head()[0] == 40


def later(command: Envelope, **fields: object) -> Envelope:
    """The same command as a gateway of the next version lets it in."""
    data = msgspec.json.encode(msgspec.json.decode(command.data) | fields)
    return msgspec.structs.replace(command, data=msgspec.Raw(data))


def test_what_is_not_known_here_is_left_to_who_knows_it_and_nothing_overtakes_it(events: Log) -> None:
    """During a rolling deploy the next version's commands are in the lanes of this one: not wrong, only not ours."""

    class CountLater(examples.counter.Count, frozen=True):
        tag = "Count"
        note: str | None = None

    batch = [asked(1), later(asked(2), note="n"), asked(3), asked(4, "b"), msgspec.structs.replace(asked(5, "c"), type="Unheard")]
    told: list[Outcome] = []
    for _ in range(2):
        with pytest.raises(NotKnown) as raised:
            executor(events, told).execute(batch)
        assert raised.value.names == {"Count.note", "Unheard"}
    assert {outcome.command_id for outcome in told} == {batch[0].command_id, batch[3].command_id}
    assert events.parked() == [] and [events.version(f"counter-{name}") for name in "abc"] == [1, 1, 0]

    module = ModuleType("later")
    counter = replace(examples.counter.COUNTER, commands=(CountLater,))
    module.__dict__.update(DECIDERS=(counter,), VIEWS=())
    domain = domain_of(module)
    knowing = Executor(domain, Codec(domain), events, LocalBell(), LocalOutcomes(), given_up={"Unheard"})
    assert statuses(knowing.execute(batch))[2:] == ["succeeded", "succeeded", "parked"]
    counted = [msgspec.json.decode(event.data)["by"] for event in events.stream("counter-a")]
    assert counted == [1, 2, 3] and [parked.reason for parked in events.parked()] == ["malformed"]
