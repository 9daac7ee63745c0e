"""`Executor` on a log in memory: what is told, what is left for others, and how much is tried at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.unit.test_workers_deciding import DOMAIN, Added, command, past
from tests.unit.test_workers_questions import domain_with, total
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Conflict, Neighbour, NotKnown, Unavailable
from twofold.kernel.log import Decision, LastEvent, Loaded, Meta, NewEvent, Snapshot
from twofold.kernel.outcome import Outcome
from twofold.testing.memory_log import MemoryLog
from twofold.workers import deciding, execute
from twofold.workers.deciding import Folded, States, UnitOfWork
from twofold.workers.execute import CONFLICTS_MAX, Executor


class Fallible(MemoryLog):
    """Refuses appends as it is told to, the next one first; `sizes` are those of all that were asked for."""

    def __init__(self, *refusals: Exception | None) -> None:
        super().__init__()
        self.refusals = list(refusals)
        self.sizes: list[int] = []

    def append(self, decisions: Sequence[Decision], inline: Any = None, snapshots: Sequence[Snapshot] = ()) -> Any:
        self.sizes.append(len(decisions))
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        return super().append(decisions, inline, snapshots)


class NoTrial:
    """Decides nothing, and says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.loaded: list[Loaded] = []

    def decide(self, envelopes: Sequence[Any], loaded: Loaded, read_on: Any) -> list[Decision]:
        self.asked.append([envelope.command_id for envelope in envelopes])
        self.loaded.append(loaded)
        return [Decision(envelope, "ignored", 1) for envelope in envelopes]


def executor(
    log: MemoryLog, trial: Any = None, domain: Domain = DOMAIN, told: list[Outcome] | None = None, **more: Any
) -> Executor:
    outcomes = LocalOutcomes()
    outcomes.listen(lambda news: told.extend(news) if told is not None else None)
    return Executor(domain, Codec(domain), log, LocalBell(), outcomes, new_trial=lambda: trial, **more)


def unavailable() -> Unavailable:
    return Unavailable(Neighbour.LOG, "away")


def test_what_was_too_heavy_is_halved_and_grows_again() -> None:
    log = Fallible(unavailable(), unavailable())
    executing = executor(log)
    many = [command(str(number), 0, str(number)) for number in range(40)]
    for _ in range(2):
        with pytest.raises(Unavailable):
            executing.execute(many)
    assert log.sizes == [40, 20]
    assert len(executing.execute(many)) == 40
    assert log.sizes[2:] == [10, 10, 10, 10]


def test_a_portion_that_never_failed_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "BATCH_COMMANDS_MAX", 3)
    log = Fallible()
    assert len(executor(log).execute([command(str(number), 0, str(number)) for number in range(7)])) == 7
    assert log.sizes == [3, 3, 1]


def test_a_conflict_is_decided_again_so_often_and_then_given_up() -> None:
    assert [one.status for one in executor(Fallible(*[Conflict()] * (CONFLICTS_MAX - 1))).execute([command("1", 1)])] == [
        "succeeded"
    ]
    log = Fallible(*[Conflict()] * CONFLICTS_MAX)
    with pytest.raises(Unavailable, match="conflicts") as given_up:
        executor(log).execute([command("1", 1)])
    assert (given_up.value.neighbour, len(log.sizes)) == (Neighbour.LOG, CONFLICTS_MAX)


def test_after_a_conflict_states_are_folded_anew() -> None:
    """The state in memory may be that of a log that has lost its tail."""
    log, states = Fallible(), States()
    executing = executor(log, states=states)
    executing.execute([command("1", 60)])
    known = states.get("counter-a")
    assert known is not None
    states.put("counter-a", known._replace(state=1_000))
    log.refusals = [Conflict()]
    assert [one.status for one in executing.execute([command("2", 40)])] == ["succeeded"]


def test_what_the_log_cannot_store_is_its_commands_bug_alone_and_told() -> None:
    """The batch is taken apart; the reason is kept with the command, and a line of the log names it."""
    log = Fallible(ValueError("cannot be stored"), None, ValueError("cannot be stored"))
    with capture_logs() as lines:
        outcomes = executor(log).execute([command("1", 1), command("2", 2, "b")])
    assert [(one.command_id, one.status, one.code, one.version) for one in outcomes] == [
        ("1", "succeeded", None, 1),
        ("2", "parked", codes.BUG, 0),
    ]
    [parked] = log.parked()
    assert "ValueError: cannot be stored" in parked.error
    [line] = [line for line in lines if line["event"] == "parked"]
    assert (line["command_id"], line["type"], line["reason"], line["traceback"][-1]) == ("2", "Add", codes.BUG, "ValueError")


def test_a_malformed_command_is_told_without_a_traceback() -> None:
    with capture_logs() as lines:
        executor(MemoryLog()).execute([command("1", "many")])
    assert [(line["reason"], "traceback" in line) for line in lines] == [(codes.MALFORMED, False)]


LATER = Meta("c", "p", 2)


def log_with_a_later_event() -> MemoryLog:
    log = MemoryLog()
    asked = command("first", 1)
    log.append([Decision(asked, "succeeded", 1, (NewEvent(asked.stream, 1, "Added", b"{}", LATER),))])
    return log


def test_what_is_not_known_here_is_left_and_what_follows_on_its_stream_too() -> None:
    """In order: whoever knows it decides all of them. Neighbours on other streams are done, and told."""
    told: list[Outcome] = []
    log = log_with_a_later_event()
    unheard = msgspec.structs.replace(command("u", 1, "c"), type="Unheard")
    batch = [command("1", 1), command("2", 1, "b"), command("3", 2), unheard, command("4", 1, "c"), command("5", 2, "b")]
    states = States()
    with pytest.raises(NotKnown) as left:
        executor(log, told=told, states=states).execute(batch)
    assert left.value.names == {"Added/2", "Unheard"}
    assert [(one.command_id, one.status) for one in told] == [("2", "succeeded"), ("5", "succeeded")]
    assert [states.get(f"counter-{name}") is None for name in "abc"] == [True, False, True]
    assert set(log.outcomes(["1", "2", "3", "u", "4", "5"])) == {"2", "5"}


def test_what_an_operator_has_given_up_is_parked_and_nobody_waits_for_it() -> None:
    told: list[Outcome] = []
    unheard = msgspec.structs.replace(command("u", 1), type="Unheard")
    log = MemoryLog()
    outcomes = executor(log, told=told, given_up=["Unheard"]).execute([unheard, command("1", 1)])
    assert [(one.command_id, one.status, one.code) for one in outcomes] == [
        ("u", "parked", codes.MALFORMED),
        ("1", "succeeded", None),
    ]
    assert log.parked()[0].error == "there is no Unheard, and never will be"
    with pytest.raises(NotKnown):
        executor(MemoryLog(), given_up=["Other"]).execute([unheard])


def test_the_careful_way_decides_elsewhere_and_so_does_a_retry_of_what_killed() -> None:
    trial, log = NoTrial(), MemoryLog()
    executing = executor(log, trial)
    executing.execute([command("1", 1)])
    assert trial.asked == []
    outcomes = executing.execute_carefully([command("2", 1), command("3", 1)])
    assert (trial.asked, [one.status for one in outcomes]) == ([["2", "3"]], ["ignored", "ignored"])
    assert [event.version for event in trial.loaded[0].events["counter-a"]] == [1], "nothing is taken from memory"
    log.append([Decision(command("k", 1), "parked", 1, (), codes.KILLED, None, "killed")])
    executing.execute([command("k", 1, attempt=2), command("4", 1)])
    assert trial.asked[1:] == [["k", "4"]]


def test_a_snapshot_that_cannot_be_read_is_as_if_it_were_not_there() -> None:
    """Also where commands are tried: the streams are read whole."""
    trial, log = NoTrial(), MemoryLog()
    executor(log).execute([command("1", 5), command("2", 5, "b")])
    shape = Codec(DOMAIN).states["counter"].shape
    lasts = {name: log.stream(f"counter-{name}", 0)[-1] for name in "ab"}
    for name, state in (("a", b'"no"'), ("b", b"5")):
        at = lasts[name]
        last = LastEvent(at.version, at.meta.command_id, at.recorded_at, at.position)
        log.snapshots[f"counter-{name}"] = Snapshot(f"counter-{name}", shape, last, state)
    executor(log, trial).execute_carefully([command("3", 1), command("4", 1, "b")])
    [loaded] = trial.loaded
    assert {stream: [event.version for event in events] for stream, events in loaded.events.items()} == {
        "counter-a": [1],
        "counter-b": [1],
    }
    assert loaded.snapshots == {}


def test_how_long_the_slowest_command_takes_is_known_meanwhile() -> None:
    """Readiness asks: a decider that hangs holds its lane up."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(state: int, asked: Any) -> list[Added]:
        entered.set()
        go_on.wait(10.0)
        return []

    class Folding:
        seconds = 0.0

        def folding_seconds(self) -> float:
            return self.seconds

    executing = executor(MemoryLog(), domain=domain_with(decide=slow))
    assert executing.deciding_seconds() == 0.0
    thread = threading.Thread(target=executing.execute, args=([command("1", 1)],))
    thread.start()
    assert entered.wait(10.0)
    time.sleep(0.02)
    assert 0.02 <= executing.deciding_seconds() < 10.0
    executing._inline = Folding()  # type: ignore[assignment]
    Folding.seconds = 77.0
    assert executing.deciding_seconds() == 77.0
    go_on.set()
    thread.join(10.0)
    executing._inline = None
    assert executing.deciding_seconds() == 0.0


def test_the_key_of_another_command_has_no_effect_and_says_so() -> None:
    log = MemoryLog()
    [first] = executor(log).execute([command("1", 1)])
    assert executor(log).execute([command("1", 2)]) == [first]
    [parked] = log.parked()
    assert (parked.reason, parked.envelope.command_id) == (codes.KEY_REUSED, "1")
    assert "idempotency key" in parked.error
    assert len(log.stream("counter-a", 0)) == 1


def snapshots_of(work: UnitOfWork) -> list[tuple[str, bytes]]:
    return [(snapshot.stream, snapshot.state) for snapshot in work.snapshots]


def folded_by(domain: Domain, known: dict[str, Folded], *numbers: int, after: int = 0) -> UnitOfWork:
    work = UnitOfWork(domain, Codec(domain), known, [command("1", 1)])
    work.fold("counter-a", Loaded({"counter-a": past(*numbers, after=after)} if numbers else {}, {}))
    return work


def test_a_state_is_kept_after_so_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = domain_with(evolve=total, snapshot_every=3)
    assert snapshots_of(folded_by(domain, {}, 1, 2)) == []
    work = folded_by(domain, {}, 1, 2, 3)
    assert snapshots_of(work) == [("counter-a", b"6")]
    kept = work.folded["counter-a"]
    assert (kept.version, kept.size_bytes, kept.kept_version, kept.kept_bytes) == (3, 1, 3, 1)
    assert snapshots_of(folded_by(domain, {"counter-a": kept}, 1, 1, after=3)) == []
    assert snapshots_of(folded_by(domain, {"counter-a": kept}, 1, 1, 1, after=3)) == [("counter-a", b"9")]
    assert snapshots_of(folded_by(domain, {"counter-a": Folded(3, 6, 9)})) == [], "it is not committed yet"


def test_why_a_state_is_not_kept_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "SNAPSHOT_BYTES_MAX", 1)
    domain = domain_with(evolve=total, snapshot_every=1)
    assert snapshots_of(folded_by(domain, {}, 9)) == [("counter-a", b"9")]
    work = folded_by(domain, {}, 10)
    assert (snapshots_of(work), work.unkept) == ([], {"counter": "larger than 1 bytes"})
    assert work.folded["counter-a"].kept_version == 1, "it is not encoded again for every event"
    never = folded_by(domain_with(evolve=total, snapshot_every=0), {}, *range(60))
    assert (never.snapshots, never.unkept) == ([], {})
    strange = domain_with(evolve=lambda state, event: object(), initial=0, snapshot_every=None)
    work = folded_by(strange, {}, *([1] * 60))
    assert (work.snapshots, list(work.unkept)) == ([], ["counter"])
    with capture_logs() as lines:
        executing = executor(MemoryLog(), domain=domain)
        for number in range(3):
            executing.execute([command(str(number), 10)])
    assert [line["decider"] for line in lines if "snapshot" in line["event"]] == ["counter"]


def test_what_is_due_beyond_a_batchs_share_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "BATCH_SNAPSHOT_BYTES_MAX", 2)
    domain = domain_with(evolve=total, snapshot_every=1)
    work = UnitOfWork(domain, Codec(domain), {}, [command("1", 1, name) for name in "abcd"])
    for name in "abcd":
        stream = f"counter-{name}"
        work.fold(stream, Loaded({stream: past(1)}, {}))
    assert [stream for stream, _ in snapshots_of(work)] == ["counter-a", "counter-b", "counter-c"]
    assert work.folded["counter-d"].kept_version == 0
