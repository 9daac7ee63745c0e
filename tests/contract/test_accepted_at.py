"""A decider that asks for the time is told when its command was accepted, whoever decides it, whenever and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import domain_of, load_domain
from twofold.kernel.envelope import Envelope, decode_batch, encode_batch, fingerprint_of
from twofold.kernel.errors import Conflict
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Loaded
from twofold.kernel.messages import Command, Event
from twofold.kernel.ports import Log
from twofold.testing import NOON, given
from twofold.testing.memory_bus import MemoryBell, MemoryOutcomes
from twofold.testing.memory_log import MemoryLog
from twofold.workers.deciding import UnitOfWork
from twofold.workers.execute import Executor
from twofold.workers.trial import Trial

LONG_AGO = datetime(2020, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)


class Ring(Command, frozen=True):
    bell: str


class Rung(Event, frozen=True):
    bell: str
    at: datetime


def decide(rung_at: datetime | None, command: Ring, accepted_at: datetime) -> list[Rung]:
    return [Rung(command.bell, accepted_at)]


def evolve(rung_at: datetime | None, event: Rung) -> datetime | None:
    return event.at


BELL = Decider[datetime | None, Ring, Rung]("bell", "bell", (Ring,), (Rung,), None, decide, evolve)
DECIDERS, VIEWS = (BELL,), ()
DOMAIN = load_domain(__name__)


def ring(accepted_at: datetime = LONG_AGO) -> Envelope:
    data = msgspec.json.encode({"bell": "a"})
    return Envelope(new_command_id(), "Ring", "bell-a", msgspec.Raw(data), fingerprint_of("Ring", data), accepted_at)


def fact(data: bytes) -> Rung:
    return msgspec.json.decode(data, type=Rung)


def executor(events: Log) -> Executor:
    return Executor(DOMAIN, Codec(DOMAIN), events, MemoryBell(), MemoryOutcomes())


def test_a_worker_and_a_process_that_tries_commands_decide_on_the_same_time() -> None:
    """Through the broker, in a worker, again in another one, and apart: the time travels with the command."""
    (command,) = decode_batch(encode_batch([ring()]))
    for _ in range(2):
        work = UnitOfWork(DOMAIN, Codec(DOMAIN), {}, [command])
        work.fold("bell-a", Loaded({}, {}))
        assert [fact(event.data) for event in work.decide(command).events] == [Rung("a", LONG_AGO)]
    (tried,) = Trial(__name__).decide([command])
    assert [fact(event.data) for event in tried.events] == [Rung("a", LONG_AGO)]


def test_a_command_that_comes_again_keeps_its_time() -> None:
    """Delivered twice, or decided anew because somebody else was there first."""
    events = MemoryLog()
    command, other = ring(), ring(LONG_AGO + timedelta(days=1))
    ours = executor(events)
    first = ours.execute([command])
    conflicts = [Conflict("somebody else was faster")]
    append = events.append

    def slow_append(*told: Any) -> Any:
        if conflicts:
            raise conflicts.pop()
        return append(*told)

    there: Any = SimpleNamespace(outcomes=events.outcomes, read=events.read, append=slow_append)
    assert executor(there).execute([command, other])[0] == first[0]
    assert not conflicts
    assert [fact(event.data).at for event in events.stream("bell-a")] == [LONG_AGO, other.accepted_at]


def test_the_kit_says_when_a_command_was_accepted() -> None:
    given(BELL).when(Ring("a"), at=LONG_AGO).then(Rung("a", LONG_AGO))
    given(BELL).when(Ring("a")).then(Rung("a", NOON))


def test_what_a_decider_takes_is_looked_at_once() -> None:
    """As the domain is loaded: with or without the time, with more that need not be given, or saying nothing."""

    def more(rung_at: datetime | None, command: Ring, why: str = "") -> list[Rung]:
        return []

    functions: list[Any] = [decide, more, lambda *told: [], lambda rung_at, command: []]
    deciders = [Decider[Any, Ring, Rung]("bell", "bell", (Ring,), (Rung,), None, function, evolve) for function in functions]
    assert [decider.is_timed for decider in deciders] == [True, False, False, False]
    module: Any = SimpleNamespace(__name__="bells", DECIDERS=(BELL,), VIEWS=())
    assert "is_timed" in vars(domain_of(module).deciders[0])
