"""What a process that tries commands is told: every stream whole, page by page where it is long, each when it is needed."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from tests.unit.test_workers_deciding import DOMAIN, NOON, Added, command
from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Decision, LastEvent, Loaded, Meta, NewEvent, Recorded, Snapshot, last_of
from twofold.testing.memory_log import MemoryLog
from twofold.workers import keeping, trial
from twofold.workers.keeping import keep_states
from twofold.workers.questions import NOTHING, Question, Streams
from twofold.workers.trial import Trial
from twofold.workers.trial_process import Lines

LAST = LastEvent(7, "c", NOON, 70)
SNAPSHOT = Snapshot("counter-b", "shape", LAST, b"7")


def of(stream: str, *versions: int) -> list[Recorded]:
    return [Recorded(one, stream, one, "Added", b'{"by":1}', Meta("c", "p"), NOON) for one in versions]


def made(counter: str, version: int) -> Decision:
    asked = command("1", 1, counter)
    return Decision(asked, "succeeded", version, (NewEvent(asked.stream, version, "Added", b'{"by":1}', Meta("1", "p")),))


class Reads:
    """More pages of streams, in order; and who asked, and behind what."""

    def __init__(self, *pages: Loaded) -> None:
        self._pages = list(pages)
        self.asked: list[tuple[str, LastEvent | None]] = []

    def __call__(self, stream: str, last: LastEvent | None) -> Loaded:
        self.asked.append((stream, last))
        return self._pages.pop(0)


def versions(loaded: Loaded, stream: str) -> list[int] | None:
    found = loaded.events.get(stream)
    return None if found is None else [event.version for event in found]


def asked_of(streams: Streams, *counters: str) -> list[Question]:
    return list(streams.questions("counting", 2.0, {"a": 1}, [command(str(at), 1, one) for at, one in enumerate(counters)]))


def test_short_streams_are_told_in_one_question() -> None:
    """With what was decided since, behind what was loaded; of others nothing."""
    streams = Streams(
        Loaded({"counter-a": of("counter-a", 1, 2), "counter-x": of("counter-x", 1)}, {"counter-b": SNAPSHOT}), Reads()
    )
    streams.extend([made("a", 3), made("b", 8)])
    streams.extend([made("a", 4)])
    [question] = asked_of(streams, "a", "b", "c", "a")
    assert (question.domain, question.seconds_max, question.settings) == ("counting", 2.0, {"a": 1})
    assert (question.is_first, question.is_page, question.is_last, len(question.envelopes)) == (True, False, True, 4)
    found = [versions(question.loaded, f"counter-{name}") for name in "abcx"]
    assert (found, question.loaded.snapshots) == ([[1, 2, 3, 4], [8], [], None], {"counter-b": SNAPSHOT})
    assert {event.position for event in question.loaded.events["counter-b"]} == {0}


def test_a_long_stream_is_told_page_by_page_when_its_first_command_is_next() -> None:
    """So no question is larger than what is read at once."""
    reads = Reads(
        Loaded({"counter-l": of("counter-l", 3, 4)}, {}, frozenset(["counter-l"])), Loaded({"counter-l": of("counter-l", 5)}, {})
    )
    loaded = Loaded({"counter-l": of("counter-l", 1, 2), "counter-a": of("counter-a", 1)}, {}, frozenset(["counter-l"]))
    streams = Streams(loaded, reads)
    streams.extend([made("l", 6)])
    questions = asked_of(streams, "a", "l", "a", "l")
    told = [(one.is_first, one.is_page, one.is_last, [envelope.stream for envelope in one.envelopes]) for one in questions]
    assert told == [
        (True, False, False, ["counter-a"]),
        (False, True, False, ["counter-l"]),
        (False, True, False, ["counter-l"]),
        (False, True, False, ["counter-l"]),
        (False, False, True, ["counter-l", "counter-a", "counter-l"]),
    ]
    assert [versions(one.loaded, "counter-l") for one in questions] == [None, [1, 2], [3, 4], [5, 6], None]
    assert [one.loaded.unread for one in questions[1:4]] == [{"counter-l"}, {"counter-l"}, frozenset()]
    assert questions[4].loaded == NOTHING
    assert reads.asked == [("counter-l", last_of(of("counter-l", 2))), ("counter-l", last_of(of("counter-l", 4)))]


def test_two_long_streams_are_told_one_after_the_other() -> None:
    reads = Reads(Loaded({}, {}), Loaded({}, {}))
    streams = Streams(Loaded({}, {"counter-b": SNAPSHOT}, frozenset(["counter-a", "counter-b"])), reads)
    questions = asked_of(streams, "a", "b")
    told = [(one.is_page, [envelope.stream for envelope in one.envelopes], one.is_last) for one in questions]
    assert told == [
        (False, [], False),
        (True, ["counter-a"], False),
        (True, ["counter-a"], False),
        (False, ["counter-a"], False),
        (True, ["counter-b"], False),
        (True, ["counter-b"], False),
        (False, ["counter-b"], True),
    ]
    assert [one.loaded.snapshots for one in questions] == [{}, {}, {}, {}, {"counter-b": SNAPSHOT}, {}, {}]
    assert reads.asked == [("counter-a", None), ("counter-b", LAST)]


def test_nothing_to_ask_is_asked_all_the_same() -> None:
    [question] = asked_of(Streams(NOTHING, Reads()))
    assert (question.is_first, question.is_last, question.envelopes) == (True, True, [])


def test_the_version_of_a_stream_is_that_of_its_last_event_wherever_it_is() -> None:
    """A command that ends its process is parked at it."""
    loaded = Loaded({"counter-a": of("counter-a", 1, 2)}, {"counter-b": SNAPSHOT}, frozenset(["counter-l"]))
    streams = Streams(loaded, Reads(Loaded({"counter-l": of("counter-l", 1, 9)}, {})))
    assert [streams.version(f"counter-{name}") for name in "abcl"] == [2, 7, 0, 9]
    streams.extend([made("b", 8)])
    assert streams.version("counter-b") == 8


class FakeProcess:
    """Begins with every question, or not; and answers what it is told to, of None that it is dead."""

    def __init__(self, begins: list[bool], answers: list[bytes | None]) -> None:
        self._begins, self._answers = begins, answers
        self.waited: list[float] = []
        self.is_ended = False

    def asked(self, line: bytes) -> bool:
        return self._begins.pop(0)

    def line(self, seconds_max: float) -> bytes | None:
        self.waited.append(seconds_max)
        answer = self._answers.pop(0)
        if answer == b"loud":
            raise OSError("no room")
        return answer

    def ending(self, took_seconds: float) -> str:
        self.end()
        return f"gone after {took_seconds:.0f} s"

    def end(self) -> str:
        self.is_ended = True
        return "words"


def trial_with(monkeypatch: pytest.MonkeyPatch, *processes: FakeProcess) -> Trial:
    left = list(processes)
    monkeypatch.setattr(trial, "TrialProcess", lambda module: left.pop(0))
    return Trial("counting", 3.0)


def answer(*counters: str) -> list[bytes | None]:
    return [trial._encoded(made(counter, 1)) for counter in counters]


def test_a_process_that_has_answered_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FakeProcess([True, True, False], answer("a", "b", "c"))
    other = FakeProcess([True], answer("d"))
    tried = trial_with(monkeypatch, process, other)
    for counter in "abc":
        if counter == "c":
            process._begins = [True]
        [decision] = tried.decide([command("1", 1, counter)])
        assert decision.envelope.stream == f"counter-{counter}" and not process.is_ended
    process._begins = [False]
    assert [one.envelope.stream for one in tried.decide([command("1", 1, "d")])] == ["counter-d"]
    assert (process.is_ended, other.is_ended) == (True, False)
    assert process.waited == [3.0 + trial.MARGIN_SECONDS] * 3


def test_what_is_missing_is_tried_again_and_parked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries for each, counted anew after every decision that came back."""
    dead: list[bytes | None] = [None]
    processes = [
        FakeProcess([True], [*answers]) for answers in (answer("a") + dead, dead, answer("b") + dead, dead, dead, answer("d"))
    ]
    tried = trial_with(monkeypatch, *processes)
    decisions = tried.decide([command(str(at), 1, counter) for at, counter in enumerate("abcd")])
    assert [(one.status, one.code) for one in decisions] == [
        ("succeeded", None),
        ("succeeded", None),
        ("parked", codes.KILLED),
        ("succeeded", None),
    ]
    told = str(decisions[2].error).splitlines()
    assert told[0] == "deciding it ended the process, 3 tries without an outcome:"
    assert [line[:7] for line in told[1:]] == ["try 1, ", "try 2, ", "try 3, "] and told[1].endswith("gone after 0 s")
    assert [process.is_ended for process in processes] == [True] * 5 + [False]


def test_the_last_of_them_that_is_parked_asks_nobody_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [FakeProcess([True], [None]) for _ in range(3)]
    [parked] = trial_with(monkeypatch, *processes).decide([command("1", 1)], Loaded({"counter-a": of("counter-a", 1, 4)}, {}))
    assert (parked.code, parked.version) == (codes.KILLED, 4)


def test_a_process_that_does_not_begin_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for process, said in ((FakeProcess([False], []), "words"), (FakeProcess([True], [b"loud"]), "no room")):
        with pytest.raises(Unavailable) as refused:
            trial_with(monkeypatch, process).decide([command("1", 1)])
        assert (refused.value.neighbour, refused.value.detail) == (Neighbour.LANES, said)
        assert process.is_ended


def test_lines_of_a_pipe_are_waited_for_no_longer_than_asked() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as end:
        lines = Lines(pipe)
        began = time.monotonic()
        assert lines.next(0.05) is None
        assert 0.04 <= time.monotonic() - began < 2.0
        end.write(b"one\ntwo\nthr")
        assert (lines.next(5.0), lines.next(0.0)) == (b"one", b"two")
        threading.Timer(0.05, end.write, [b"ee\n"]).start()
        assert lines.next(5.0) == b"three"
        assert lines.next(0.0) is None
        end.write(b"half")
        end.close()
        assert lines.next(5.0) is None


def domain_with(**changes: Any) -> Domain:
    fields = {name: getattr(DOMAIN.deciders[0], name) for name in DOMAIN.deciders[0].__dataclass_fields__}
    decider: Any = Decider(**(fields | changes))
    return DOMAIN.__class__(
        **{name: getattr(DOMAIN, name) for name in DOMAIN.__dataclass_fields__}
        | {"deciders": (decider,), "decider_of": {"Add": decider}}
    )


def total(state: int, event: Added) -> int:
    if event.by == 666:
        raise ValueError("cannot be folded")
    return state + event.by


def log_with(**streams: list[int]) -> MemoryLog:
    log = MemoryLog()
    for name, numbers in streams.items():
        for version, by in enumerate(numbers, start=1):
            asked = command(f"{name}{version}", by, name)
            event = NewEvent(asked.stream, version, "Added", b'{"by":%d}' % by, Meta(asked.command_id, "p"))
            log.append([Decision(asked, "succeeded", version, (event,))])
    return log


def test_states_of_streams_are_kept_and_what_cannot_be_is_left_out() -> None:
    """Before what they were folded from is put away."""
    domain = domain_with(evolve=total)
    log = log_with(a=[1, 2], b=[666], c=[5])
    streams = ["counter-b", "nobody-1", "counter-none", "counter-a", "counter-c"]
    assert keep_states(domain, Codec(domain), log, streams) == 2
    found = {stream: (kept.last.version, kept.last.position, kept.state) for stream, kept in log.snapshots.items()}
    assert found == {"counter-a": (2, 2, b"3"), "counter-c": (1, 4, b"5")}
    assert keep_states(domain, Codec(domain), log, streams) == 0, "they are kept as they stand"


def test_states_that_cannot_be_kept_are_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = domain_with(evolve=total)
    codec = Codec(domain)
    states = codec.states["counter"]
    log = log_with(a=[1], b=[22], c=[333], d=[4])

    def encode(state: int) -> bytes:
        if state == 1:
            raise TypeError("cannot be encoded")
        return str(state).encode()

    monkeypatch.setattr(states, "encode", encode)
    monkeypatch.setattr(keeping, "SNAPSHOT_BYTES_MAX", 2)
    assert keep_states(domain, codec, log, [f"counter-{name}" for name in "abcd"]) == 2
    assert set(log.snapshots) == {"counter-b", "counter-d"}
    never = domain_with(evolve=total, snapshot_every=0)
    appended: list[Any] = []
    monkeypatch.setattr(MemoryLog, "append", lambda *given, **more: appended.append(given))
    assert (keep_states(never, Codec(never), log_like(log), ["counter-c"]), appended) == (0, [])


def log_like(log: MemoryLog) -> MemoryLog:
    log.snapshots.clear()
    return log
