"""Commands that end the process that decides them: found, tried three times, parked alone, with how they ended."""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

import twofold.workers.trial
from tests.system.faults import anvils
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Unavailable
from twofold.kernel.ids import new_command_id
from twofold.testing.memory_log import MemoryLog
from twofold.workers.execute import Executor
from twofold.workers.trial import Trial
from twofold.workers.trial_process import Lines, TrialProcess

DOMAIN = domain_of(anvils)


def strike(anvil: str, number: int, how: anvils.How = "tap") -> Envelope:
    data = msgspec.json.encode(anvils.Strike(anvil, number, how))
    fields = msgspec.Raw(msgspec.json.encode({"anvil": anvil, "number": number, "how": how}))
    fingerprint = fingerprint_of("Strike", data)
    return Envelope(new_command_id(), "Strike", f"anvil-{anvil}", fields, fingerprint, datetime.now(UTC))


@pytest.mark.parametrize(
    ("how", "told"),
    [("kill", "killed by SIGKILL"), ("exit", f"ended with exit status {anvils.EXIT_STATUS}"), ("abort", "killed by SIGABRT")],
)
def test_what_kills_its_process_is_parked_alone(how: anvils.How, told: str) -> None:
    """The worker goes on, and so do its neighbours, in order, on the states that there are without it."""
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    executor.execute([strike("a", 0)])
    commands = [strike("a", 1), strike("b", 1), strike("a", 2, how), strike("a", 3), strike("b", 2)]
    outcomes = executor.execute_carefully(commands)
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded", "parked", "succeeded", "succeeded"]
    assert [outcome.version for outcome in outcomes] == [2, 1, 2, 3, 2]
    [parked] = events.parked()
    assert (parked.reason, parked.envelope.command_id) == ("killed", commands[2].command_id)
    assert parked.error.count(told) == 3 and "3 tries without an outcome" in parked.error
    again = executor.execute_carefully(commands)
    assert {outcome.command_id: outcome for outcome in again} == {outcome.command_id: outcome for outcome in outcomes}
    assert [outcome.version for outcome in executor.execute([strike("a", 4)])] == [4]


def test_a_retry_of_what_killed_its_process_kills_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who tries it too early must not bring down what works."""
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    poison = strike("a", 1, "kill")
    executor.execute_carefully([poison])

    def survive(pid: int, number: int) -> None:
        raise AssertionError("decided in the worker")

    monkeypatch.setattr(f"{anvils.__name__}.os", SimpleNamespace(kill=survive, getpid=os.getpid))
    retried = msgspec.structs.replace(poison, attempt=2)
    outcomes = executor.execute([strike("a", 2), retried, strike("a", 3)])
    assert sorted((outcome.status, outcome.code) for outcome in outcomes if outcome.code) == [("parked", "killed")]
    [parked] = events.parked()
    assert parked.envelope.attempt == 2 and parked.reason == "killed"
    assert executor.execute([strike("a", 4)])[0].version == 3


def test_what_comes_to_no_end_is_ended_by_a_deadline_and_parked_with_where_it_was() -> None:
    """Its neighbours have as long as it had, each."""
    commands = [strike("a", 1), strike("a", 2, "never"), strike("a", 3)]
    decisions = Trial(anvils.__name__, seconds_max=0.5).decide(commands)
    assert [decision.status for decision in decisions] == ["succeeded", "parked", "succeeded"]
    error = decisions[1].error
    assert error is not None and error.count("Timeout") == 3 and "in decide" in error


def test_a_process_that_cannot_start_parks_nothing() -> None:
    """It is not the commands' fault."""
    with pytest.raises(Unavailable, match="no process to try commands in"):
        Trial("no.such.domain").decide([strike("a", 1)])


def test_nothing_is_parked_for_want_of_room_to_start_a_process_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is out of memory or of disk is waited for, as any other neighbour is."""
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(Unavailable, match="no process to try commands in"):
        executor.execute_carefully([strike("a", 1), strike("a", 2)])
    assert events.parked() == [] and events.head()[0] == 0


def test_a_domain_that_was_renamed_is_tried_where_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log knows it by is no module any more."""
    monkeypatch.setattr(anvils, "NAME", "smithy", raising=False)
    renamed = domain_of(anvils)
    assert renamed.name == "smithy"
    executor = Executor(renamed, Codec(renamed), MemoryLog(), LocalBell(), LocalOutcomes())
    assert [outcome.status for outcome in executor.execute_carefully([strike("a", 1)])] == ["succeeded"]


def test_a_decider_that_leaves_is_a_bug_of_its_command_alone() -> None:
    """What would end the thread that decides is raised in it as anything else is."""
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    outcomes = executor.execute([strike("a", 1), strike("a", 2, "leave"), strike("a", 3)])
    assert [outcome.status for outcome in outcomes] == ["succeeded", "parked", "succeeded"]
    assert "the anvil is gone" in events.parked()[0].error


def test_a_long_batch_of_commands_each_of_which_ends_is_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the deadline would end a worker for being busy, twice, and have the same decided a third time."""
    executor = Executor(DOMAIN, Codec(DOMAIN), MemoryLog(), LocalBell(), LocalOutcomes())
    seen: list[float] = []

    def slow(count: int, command: anvils.Strike) -> list[anvils.Struck]:
        seen.append(executor.deciding_seconds())
        time.sleep(1.0)
        return anvils.decide(count, command)

    monkeypatch.setitem(DOMAIN.decider_of, "Strike", dataclasses.replace(anvils.ANVIL, decide=slow))
    executor.execute([strike("a", 1), strike("a", 2)])
    assert len(seen) == 2 and max(seen) < 1.0


def test_a_process_that_has_decided_all_is_asked_again_and_one_that_is_gone_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that has changed hands twice is suspect message by message: a process for each would take longer than a deploy."""
    started: list[TrialProcess] = []

    class Counted(TrialProcess):
        def __init__(self, module: str) -> None:
            super().__init__(module)
            started.append(self)

    monkeypatch.setattr(twofold.workers.trial, "TrialProcess", Counted)
    trial = Trial(anvils.__name__)
    for number in range(3):
        assert [decision.status for decision in trial.decide([strike("a", number)])] == ["succeeded"]
    assert len(started) == 1
    os.kill(started[0].pid, signal.SIGKILL)
    assert [decision.status for decision in trial.decide([strike("a", 3), strike("a", 4, "kill")])] == ["succeeded", "parked"]
    assert len(started) == 4


def test_a_stream_longer_than_a_page_is_tried_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the streams of suspect commands are, no question is; and who kills is blamed, not who waits for a fold."""
    monkeypatch.setattr("twofold.testing.memory_log.READ_BYTES_MAX", 4_000)
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    executor.execute([strike("long", number) for number in range(60)] + [strike("short", 0)])
    asked: list[int] = []
    ask = TrialProcess.asked

    def weigh(process: TrialProcess, line: bytes) -> bool:
        asked.append(len(line))
        return ask(process, line)

    monkeypatch.setattr(TrialProcess, "asked", weigh)
    commands = [strike("short", 1), strike("long", 1), strike("short", 2, "kill"), strike("long", 2), strike("new", 1)]
    outcomes = executor.execute_carefully(commands)
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded", "parked", "succeeded", "succeeded"]
    assert [outcome.version for outcome in outcomes] == [2, 61, 2, 62, 1]
    assert len(asked) > 10 and max(asked) < 12_000
    assert [parked.envelope.command_id for parked in events.parked()] == [commands[2].command_id]
    again = executor.execute_carefully([strike("long", 3, "kill"), strike("long", 4)])
    assert [(outcome.status, outcome.version) for outcome in again] == [("parked", 62), ("succeeded", 63)]


def test_a_line_is_waited_for_as_long_as_asked_and_no_longer() -> None:
    read, write = os.pipe()
    late = threading.Timer(1.0, os.write, (write, b"late\nl"))
    late.start()
    with os.fdopen(read, "rb") as pipe:
        lines = Lines(pipe)
        assert lines.next(0.05) is None
        late.join()
        assert [lines.next(1.0), lines.next(0.05)] == [b"late", None], "the second has no end yet"
        os.write(write, b"ater\nnext\n")
        assert [lines.next(1.0), lines.next(0.0)] == [b"later", b"next"]
        os.close(write)
        assert lines.next(30.0) is None


def test_suspect_commands_begin_with_a_snapshot_too() -> None:
    """Or each of them on a long stream would take as long as a fold of all of it. One that is none is not told to the process."""
    events = MemoryLog()
    executor = Executor(DOMAIN, Codec(DOMAIN), events, LocalBell(), LocalOutcomes())
    for number in range(3):
        executor.execute([strike("long", number) for _ in range(100)])
    (there,) = events.snapshots.values()
    events.snapshots["anvil-long"] = there._replace(state=b"1000")
    assert [outcome.version for outcome in executor.execute_carefully([strike("long", 1)])] == [301]
    events.snapshots["anvil-long"] = there._replace(state=b'"garbage"')
    assert [outcome.version for outcome in executor.execute_carefully([strike("long", 2)])] == [302]
