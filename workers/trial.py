"""Deciding where nothing else can be hurt: in a process of its own, which may be killed, crash or never end.

    worker ── domain, streams, commands ──> python -m twofold.workers.trial ── one decision after the other ──> worker
                                                  │
                                                  └── dead, or silent for too long: the command whose decision is missing did it

What came back counts; the command that is missing is tried again, first in a new process, and after TRIES_MAX of them it is
parked with how they ended. Its neighbours, before and behind it, are decided as ever and in order (docs/decisions/0012).
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any

import msgspec

from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Decision, Recorded
from twofold.workers.deciding import UnitOfWork

TRIES_MAX = 3
DECIDE_SECONDS_MAX = 15.0
"""How long one command may take, in a worker and here: a decider computes, it waits for nobody."""
START_SECONDS_MAX = 30.0
MARGIN_SECONDS = 5.0
"""The process ends itself in time, and says where it was; if it cannot even do that, it is killed."""
LAST_WORDS_BYTES_MAX = 4_000
READY = b"ready"
NOT_STARTED = "no process to try commands in"
OUT_OF_MEMORY_FIRST = "1000"

Streams = Mapping[str, Sequence[Recorded]]


class Question(msgspec.Struct):
    """What the process is told, as one line. `path` is where the domain is imported from, `settings` are for its rehearsal."""

    domain: str
    path: list[str]
    seconds_max: float
    recorded: dict[str, list[Recorded]]
    envelopes: list[Envelope]
    settings: dict[str, Any]


Rehearse = Callable[[Decision], None]
"""Does what the append of a decision would have the domain do. Never raises: whether it comes to an end is all that is asked."""


class Trial:
    """Decides as a UnitOfWork does, in processes that it starts and ends. `domain` is an importable module's name, `process` that
    of whoever calls `main`, which is told the settings."""

    def __init__(
        self, domain: str, seconds_max: float | None = None, process: str = __name__, settings: dict[str, Any] | None = None
    ) -> None:
        self._domain = domain
        self._seconds_max = seconds_max or DECIDE_SECONDS_MAX
        self._process = process
        self._settings = settings or {}

    def decide(self, envelopes: Sequence[Envelope], recorded: Streams) -> list[Decision]:
        """One decision for each, in order; `recorded` is all there is of their streams. Unavailable when no process starts."""
        decisions: list[Decision] = []
        deaths: list[str] = []
        while len(decisions) < len(envelopes):
            left = list(envelopes[len(decisions) :])
            question = Question(self._domain, sys.path, self._seconds_max, _grown(recorded, decisions), left, self._settings)
            try:
                made, death = _ask(self._process, question)
            except OSError as error:  # no memory for a process, no room for its last words: nobody's command is at fault
                raise Unavailable(Neighbour.LANES, NOT_STARTED, detail=str(error)) from error
            if made:
                decisions += made
                deaths = []
            if len(decisions) == len(envelopes):
                break
            deaths.append(death)
            if len(deaths) == TRIES_MAX:
                decisions.append(_parked(envelopes[len(decisions)], _grown(recorded, decisions), deaths))
                deaths = []
        return decisions


def _ask(module: str, question: Question) -> tuple[list[Decision], str]:
    """The decisions of one process, in order, and how it ended if some are missing."""
    with tempfile.TemporaryFile() as words:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        made: list[Decision] = []
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(question) + b"\n")
                process.stdin.flush()
            lines = _Lines(process.stdout)
            if lines.next(START_SECONDS_MAX) != READY:
                raise Unavailable(Neighbour.LANES, NOT_STARTED, detail=_last_words(words))
            began = time.monotonic()
            while len(made) < len(question.envelopes) and (line := lines.next(question.seconds_max + MARGIN_SECONDS)):
                made.append(msgspec.json.decode(line, type=Decision))
                began = time.monotonic()
        finally:
            process.kill() if len(made) == len(question.envelopes) else _end(process)
            status = process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()
        took = time.monotonic() - began
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return made, f"{at}: {_how(status)} after {took:.2f} s\n{_last_words(words)}".rstrip()


class _Lines:
    """Lines of a pipe, each waited for no longer than asked."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._read = b""

    def next(self, seconds_max: float) -> bytes | None:
        """None at the end, and when it takes too long."""
        deadline = time.monotonic() + seconds_max
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            found = os.read(self._descriptor, 1 << 20)
            if not found:
                return None
            self._read += found
        line, _, self._read = self._read.partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes]) -> None:
    """One that hung up is about to end by itself, and its status tells how; one that is silent is killed."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()


def _how(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"


def _last_words(words: IO[bytes]) -> str:
    words.seek(max(0, words.seek(0, os.SEEK_END) - LAST_WORDS_BYTES_MAX))
    return words.read().decode(errors="replace")


def _grown(recorded: Streams, decisions: Sequence[Decision]) -> dict[str, list[Recorded]]:
    """The streams with what was decided meanwhile at their ends, which has no positions yet."""
    grown = {stream: list(events) for stream, events in recorded.items()}
    for decision in decisions:
        for new in decision.events:
            event = Recorded(0, new.stream, new.version, new.type, new.data, new.meta, decision.envelope.accepted_at)
            grown.setdefault(new.stream, []).append(event)
    return grown


def _parked(envelope: Envelope, recorded: Streams, deaths: Sequence[str]) -> Decision:
    known = recorded.get(envelope.stream, ())
    told = "\n".join(f"try {number}, {death}" for number, death in enumerate(deaths, start=1))
    error = f"deciding it ended the process, {len(deaths)} tries without an outcome:\n{told}"
    return Decision(envelope, "parked", known[-1].version if known else 0, (), codes.KILLED, None, error)


@contextmanager
def nothing_more(settings: dict[str, Any]) -> Iterator[Rehearse]:
    """For a domain whose code an append does not run."""
    yield lambda decision: None


def main(rehearsing: Callable[[dict[str, Any]], AbstractContextManager[Rehearse]] = nothing_more) -> None:
    """The process: one question in, its decisions out. Whatever the domain prints goes to standard error."""
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the worker, whose end is ours
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(OUT_OF_MEMORY_FIRST)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    question = msgspec.json.decode(sys.stdin.buffer.readline(), type=Question)
    sys.path[:] = question.path
    domain = load_domain(question.domain)
    work = UnitOfWork(domain, Codec(domain), {}, question.recorded)
    with rehearsing(question.settings) as rehearse:
        _say(answers, READY)
        for envelope in question.envelopes:
            faulthandler.dump_traceback_later(question.seconds_max, exit=True)
            decision = work.decide(envelope)
            rehearse(decision)
            faulthandler.cancel_dump_traceback_later()
            _say(answers, _encoded(decision))


def _encoded(decision: Decision) -> bytes:
    try:
        return msgspec.json.encode(decision)
    except Exception:
        bug = Decision(decision.envelope, "parked", decision.version, (), codes.BUG, None, traceback.format_exc())
        return msgspec.json.encode(bug)


def _say(answers: IO[bytes], line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
