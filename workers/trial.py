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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from threading import Lock
from typing import IO, Any

import msgspec

from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Decision, Loaded
from twofold.workers.deciding import UnitOfWork
from twofold.workers.questions import NOTHING, Question, ReadOn, Streams
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

    def decide(
        self, envelopes: Sequence[Envelope], loaded: Loaded = NOTHING, read_on: ReadOn = lambda stream, last: NOTHING
    ) -> list[Decision]:
        """One decision for each, in order; `loaded` is what was read of their streams. Unavailable when no process starts."""
        streams = Streams(loaded, read_on)
        decisions: list[Decision] = []
        deaths: list[str] = []
        while len(decisions) < len(envelopes):
            left = envelopes[len(decisions) :]
            try:
                made, death = self._ask(streams.questions(self._domain, self._seconds_max, self._settings, left))
            except OSError as error:  # no memory for a process, no room for its last words: nobody's command is at fault
                raise Unavailable(Neighbour.LANES, NOT_STARTED, detail=str(error)) from error
            if made:
                decisions += made
                streams.extend(made)
                deaths = []
            if len(decisions) == len(envelopes):
                break
            deaths.append(death)
            if len(deaths) == TRIES_MAX:
                parked = envelopes[len(decisions)]
                decisions.append(_parked(parked, streams.version(parked.stream), deaths))
                deaths = []
        return decisions

    def _ask(self, questions: Iterator[Question]) -> tuple[list[Decision], str]:
        """The decisions of one process, in order, and how it ended if some are missing."""
        process, made, began = None, list[Decision](), time.monotonic()
        try:
            for question in questions:
                line = msgspec.json.encode(question)
                if process is None:
                    process = self._asked(line)
                elif not process.asked(line):
                    return made, _death(process, began)
                for _ in question.envelopes:
                    began = time.monotonic()
                    answer = process.line(question.seconds_max + MARGIN_SECONDS)
                    if answer is None:
                        return made, _death(process, began)
                    if not question.is_page:
                        made.append(msgspec.json.decode(answer, type=Decision))
        except BaseException:
            if process is not None:
                process.end()
            raise
        with self._lock:
            process, self._idle = self._idle, process
        if process is not None:
            process.end()
        return made, ""

    def _asked(self, line: bytes) -> TrialProcess:
        """A process that has begun with this: the idle one, if it is still there, or a new one."""
        with self._lock:
            process, self._idle = self._idle, None
        if process is not None:
            if process.asked(line):
                return process
            process.end()
        process = TrialProcess(self._process)
        if not process.asked(line):
            raise Unavailable(Neighbour.LANES, NOT_STARTED, detail=process.end())
        return process


def _death(process: TrialProcess, began: float) -> str:
    took = time.monotonic() - began
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return f"{at}: {process.ending(took)}".rstrip()


def _parked(envelope: Envelope, version: int, deaths: Sequence[str]) -> Decision:
    told = "\n".join(f"try {number}, {death}" for number, death in enumerate(deaths, start=1))
    error = f"deciding it ended the process, {len(deaths)} tries without an outcome:\n{told}"
    return Decision(envelope, "parked", version, (), codes.KILLED, None, error)


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
            question = msgspec.json.decode(line, type=Question)
            if question.is_first:
                loaded, work, rehearse = question.loaded, UnitOfWork(domain, Codec(domain), {}), begin()
            work.meet(question.envelopes)
            _say(answers, READY)
            for envelope in question.envelopes:
                faulthandler.dump_traceback_later(question.seconds_max, exit=True)
                if question.is_page or envelope.stream in work.asked:
                    work.fold(envelope.stream, question.loaded if question.is_page else loaded)
                if not question.is_page:
                    rehearse(decision := work.decide(envelope))
                faulthandler.cancel_dump_traceback_later()
                _say(answers, READY if question.is_page else _encoded(decision))
            line = questions.next(IDLE_SECONDS_MAX if question.is_last else START_SECONDS_MAX)


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
