"""Deciding where nothing else can be hurt: in a process of its own, which may be killed, crash or never end.

    worker ── domain, streams, commands ──> python -m twofold.workers.trial ── one decision after the other ──> worker
                                                  │
                                                  └── dead, or silent for too long: the command whose decision is missing did it

What came back counts; the command that is missing is tried again, first in a new process, and after TRIES_MAX of them it is
parked with how they ended. Its neighbours, before and behind it, are decided as ever and in order (docs/decisions/0012). A
process that has decided all it was asked is asked the next time, too: most of what is suspect is not at fault.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from threading import Lock
from typing import IO, Any

import msgspec

from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain, load_domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Decision, Recorded
from twofold.workers.deciding import UnitOfWork
from twofold.workers.trial_process import READY, START_SECONDS_MAX, Lines, TrialProcess

TRIES_MAX = 3
DECIDE_SECONDS_MAX = 15.0
"""How long one command may take, in a worker and here: a decider computes, it waits for nobody."""
MARGIN_SECONDS = 5.0
"""The process ends itself in time, and says where it was; if it cannot even do that, it is killed."""
IDLE_SECONDS_MAX = 10.0
"""A process that nobody asks anything for so long ends."""
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
Rehearsing = Callable[[dict[str, Any]], AbstractContextManager[Callable[[], Rehearse]]]
"""From settings to what begins a rehearsal, one for each question."""


class Trial:
    """Decides as a UnitOfWork does, in processes that it starts and ends. `domain` is an importable module's name, `process` that
    of whoever calls `main`, which is told the settings. Thread-safe."""

    def __init__(
        self, domain: str, seconds_max: float | None = None, process: str = __name__, settings: dict[str, Any] | None = None
    ) -> None:
        self._domain = domain
        self._seconds_max = seconds_max or DECIDE_SECONDS_MAX
        self._process = process
        self._settings = settings or {}
        self._lock = Lock()
        self._idle: TrialProcess | None = None

    def decide(self, envelopes: Sequence[Envelope], recorded: Streams) -> list[Decision]:
        """One decision for each, in order; `recorded` is all there is of their streams. Unavailable when no process starts."""
        decisions: list[Decision] = []
        deaths: list[str] = []
        while len(decisions) < len(envelopes):
            left = list(envelopes[len(decisions) :])
            question = Question(self._domain, sys.path, self._seconds_max, _grown(recorded, decisions), left, self._settings)
            try:
                made, death = self._ask(question)
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

    def _ask(self, question: Question) -> tuple[list[Decision], str]:
        """The decisions of one process, in order, and how it ended if some are missing."""
        line = msgspec.json.encode(question)
        with self._lock:
            process, self._idle = self._idle, None
        if process is not None and not process.asked(line):
            process.end()
            process = None
        if process is None:
            process = TrialProcess(self._process)
            if not process.asked(line):
                raise Unavailable(Neighbour.LANES, NOT_STARTED, detail=process.end())
        made: list[Decision] = []
        began = time.monotonic()
        try:
            while len(made) < len(question.envelopes) and (answer := process.line(question.seconds_max + MARGIN_SECONDS)):
                made.append(msgspec.json.decode(answer, type=Decision))
                began = time.monotonic()
        except BaseException:
            process.end()
            raise
        if len(made) == len(question.envelopes):
            with self._lock:
                process, self._idle = self._idle, process
            if process is not None:
                process.end()
            return made, ""
        took = time.monotonic() - began
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return made, f"{at}: {process.ending(took)}".rstrip()


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
def nothing_more(settings: dict[str, Any]) -> Iterator[Callable[[], Rehearse]]:
    """For a domain whose code an append does not run."""
    yield lambda: lambda decision: None


def main(rehearsing: Rehearsing = nothing_more) -> None:
    """The process: questions in, decisions out, until nobody asks any more. What the domain prints goes to standard error."""
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the worker, whose end is ours
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(OUT_OF_MEMORY_FIRST)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = Lines(sys.stdin.buffer)
    line = questions.next(START_SECONDS_MAX)
    if line is None:
        return
    question = msgspec.json.decode(line, type=Question)
    sys.path[:] = question.path
    domain = load_domain(question.domain)
    with rehearsing(question.settings) as begin:
        while line is not None:
            _decide(domain, msgspec.json.decode(line, type=Question), begin(), answers)
            line = questions.next(IDLE_SECONDS_MAX)


def _decide(domain: Domain, question: Question, rehearse: Rehearse, answers: IO[bytes]) -> None:
    work = UnitOfWork(domain, Codec(domain), {}, question.recorded)
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
