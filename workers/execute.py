"""Execute a batch of commands: look up, read, decide, append; then tell.

    envelopes ─> inbox: decided already? ─> streams: read what is new ─> decide in order ─> append (one transaction)
                      │ yes                                                  ▲    │ Conflict: somebody else was here,
                      └──> its first outcome                                 └────┘ or the log is not what it was
                                                                           (at most CONFLICTS_MAX times)

When `execute` returns, every command has its one permanent outcome. When it raises, nothing of the batch is known to have
happened and it may be executed again, by anybody: the inbox and the version check make the second time harmless.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import get_ident

import msgspec
import structlog

from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import BUGS, Conflict, Detached, Neighbour, NotKnown, Tracebacks, Unavailable
from twofold.kernel.instances import is_of_a_process, rejection_of
from twofold.kernel.log import Decision, LastEvent, Snapshot
from twofold.kernel.outcome import Outcome
from twofold.kernel.portion import Portion
from twofold.kernel.ports import Bell, EventStore, InlineProjection, Outcomes
from twofold.workers.deciding import Folded, States, UnitOfWork
from twofold.workers.trial import Trial

CONFLICTS_MAX = 10
"""A conflict means a second worker on the same streams, which leases make rare; ten in a row mean something is broken."""
BATCH_COMMANDS_MAX = 1_000
"""Commands decided and appended in one transaction."""


class Executor:
    """Executes batches. Thread-safe: several may be under way, on different streams."""

    def __init__(
        self,
        domain: Domain,
        codec: Codec,
        events: EventStore,
        bell: Bell,
        outcomes: Outcomes,
        inline: InlineProjection | None = None,
        states: States | None = None,
        given_up: Collection[str] = (),
        new_trial: Callable[[], Trial] | None = None,
    ) -> None:
        self._domain = domain
        self._codec = codec
        self._events = events
        self._bell = bell
        self._outcomes = outcomes
        self._inline = inline
        self._states = States() if states is None else states
        self._given_up = given_up
        self._trial = new_trial() if new_trial else Trial(domain.module)
        self._deciding_since: dict[int, float] = {}
        self._portion = Portion(BATCH_COMMANDS_MAX)
        self._log = structlog.get_logger(room="workers")
        self._tracebacks = Tracebacks()
        self._told: set[tuple[str, str]] = set()

    def deciding_seconds(self) -> float:
        """How long the command that takes longest has been decided, or folded inline; waiting for the log does not count."""
        now = time.monotonic()
        deciding_seconds = now - min(self._deciding_since.copy().values(), default=now)
        return max(deciding_seconds, self._inline.folding_seconds() if self._inline else 0.0)

    def execute(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """One outcome for each command id, decided or looked up. Raises Unavailable when it could not be decided now.

        After that the same are decided in portions, each half as large as what failed last: it may have been too heavy."""
        return self._decide_known(envelopes, None)

    def execute_carefully(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """The same for commands of which one may have ended a process before: they are decided in another."""
        return self._decide_known(envelopes, self._trial)

    def _decide_known(self, envelopes: Sequence[Envelope], trial: Trial | None) -> list[Outcome]:
        """Raises NotKnown when all is done that can be done here: what is not known, and what follows on its stream, is left."""
        left: dict[str, str] = {}
        outcomes = self._decide_in_portions(envelopes, trial, left)
        self._outcomes.tell(outcomes)
        if left:
            raise NotKnown(left.values())
        return outcomes

    def _decide_in_portions(self, envelopes: Sequence[Envelope], trial: Trial | None, left: dict[str, str]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        rest = envelopes
        while rest:
            portion, rest = rest[: self._portion.now], rest[self._portion.now :]
            try:
                outcomes += self._decide_isolated(portion, trial, left)
            except Unavailable:
                self._portion.failed(len(portion))
                raise
            if self._portion.now < self._portion.most:
                self._portion.succeeded()
        return outcomes

    def _decide_isolated(self, envelopes: Sequence[Envelope], trial: Trial | None, left: dict[str, str]) -> list[Outcome]:
        """A command that the log cannot store, whatever its decider thought of it, is a bug of that command alone; and so is one
        that nobody can decide until an operator brings back what it needs."""
        try:
            return self._decide_again_on_conflict(envelopes, trial, left)
        except BUGS as error:
            if isinstance(error, Unavailable | Conflict) and not isinstance(error, Detached):
                raise
            if len(envelopes) > 1:
                return [outcome for envelope in envelopes for outcome in self._decide_isolated([envelope], trial, left)]
            parked = [Decision(envelopes[0], "parked", 0, (), codes.BUG, None, traceback.format_exc())]
            outcomes = self._append(parked, {})
            self._tell(parked)
            return outcomes

    def _decide_again_on_conflict(
        self, envelopes: Sequence[Envelope], trial: Trial | None, left: dict[str, str]
    ) -> list[Outcome]:
        for _ in range(CONFLICTS_MAX):
            try:
                return self._decide_once(envelopes, trial, left)
            except Conflict:
                for envelope in envelopes:
                    self._states.drop(envelope.stream)
        raise Unavailable(Neighbour.LOG, "too many conflicts in a row")

    def _decide_once(self, envelopes: Sequence[Envelope], trial: Trial | None, left: dict[str, str]) -> list[Outcome]:
        decided = self._events.outcomes({envelope.command_id for envelope in envelopes})
        fresh, reused = _sort_out(self._codec, envelopes, decided)
        if any(outcome.code == codes.KILLED for outcome in decided.values()):
            trial = self._trial  # somebody wants it tried again
        work = UnitOfWork(self._domain, self._codec, self._known(fresh) if trial is None else {}, fresh)
        made = self._decide_here(work, fresh) if trial is None else self._try(trial, work, fresh)
        if left or any(decision.code == codes.NOT_KNOWN for decision in made):
            made = self._without_unknown(made, work.folded, left)
        if told := [rejection_of(one) for one in made if one.status == "rejected" and is_of_a_process(one.envelope)]:
            work.meet(told)
            made += self._decide_here(work, told)
        decisions = made + [_reused(envelope) for envelope in reused]
        again = [decided[command_id] for command_id in decided.keys() - {envelope.command_id for envelope in fresh}]
        if not decisions:
            return again
        outcomes = self._append(decisions, work.folded, work.snapshots)
        self._tell(decisions)
        self._tell_unkept(work.unkept, "no snapshot, so long streams are folded from their beginning when they are not in memory")
        return again + outcomes

    def _tell(self, decisions: Sequence[Decision]) -> None:
        """Log what was parked, with where the bug is the first time; what it said is kept with the command."""
        for decision in (decision for decision in decisions if decision.status == "parked"):
            envelope = decision.envelope
            told = {"traceback": at} if (at := self._tracebacks.untold(decision.error or "")) else {}
            self._log.error("parked", command_id=envelope.command_id, type=envelope.type, reason=decision.code, **told)

    def _tell_unkept(self, unkept: Mapping[str, str], what: str) -> None:
        """Once for each decider: it is so for every command on its long streams."""
        for decider in [one for one in unkept if (one, what) not in self._told]:
            self._told.add((decider, what))
            self._log.warning(what, decider=decider, reason=unkept[decider])

    def _without_unknown(self, decisions: Sequence[Decision], folded: dict[str, Folded], left: dict[str, str]) -> list[Decision]:
        """Without those that are left for others: what is not known here (`left` gets its stream and name), and what comes after
        it on its stream, which was decided as if it had never been. What an operator has given up is parked."""
        kept = []
        for decision in decisions:
            stream, name = decision.envelope.stream, decision.error or ""
            if stream not in left and decision.code == codes.NOT_KNOWN:
                if name in self._given_up:
                    decision = msgspec.structs.replace(
                        decision, code=codes.MALFORMED, error=f"there is no {name}, and never will be"
                    )
                else:
                    left[stream] = name
            if stream in left:
                folded.pop(stream, None)
            else:
                kept.append(decision)
        return kept

    def _try(self, trial: Trial, work: UnitOfWork, envelopes: Sequence[Envelope]) -> list[Decision]:
        """In the other process, which folds the streams, too: nothing is known of them here afterwards."""
        loaded = self._events.read(work.asked, work.shapes)
        if not all([work.restore(snapshot) for snapshot in loaded.snapshots.values()]):
            loaded = self._events.read(work.asked)
        work.folded.clear()
        return trial.decide(envelopes, loaded, lambda stream, last: self._events.read({stream: last}))

    def _decide_here(self, work: UnitOfWork, envelopes: Sequence[Envelope]) -> list[Decision]:
        """Page by page their streams are folded, however long they are; a step at a time may take as long as a command may."""
        thread, decisions = get_ident(), []
        try:
            while work.asked:
                page = self._events.read(work.asked, work.shapes)
                for stream in list(work.asked):
                    self._deciding_since[thread] = time.monotonic()
                    work.fold(stream, page)
                del self._deciding_since[thread]
            for envelope in envelopes:
                self._deciding_since[thread] = time.monotonic()
                decisions.append(work.decide(envelope))
            return decisions
        finally:
            self._deciding_since.pop(thread, None)

    def _known(self, envelopes: Sequence[Envelope]) -> dict[str, Folded]:
        return {stream: folded for stream in {e.stream for e in envelopes} if (folded := self._states.get(stream))}

    def _append(
        self, decisions: Sequence[Decision], folded: dict[str, Folded], snapshots: Sequence[Snapshot] = ()
    ) -> list[Outcome]:
        """Append, ring, and keep the states that are committed now, each with the event it stands on."""
        appended = self._events.append(decisions, self._inline, snapshots)
        self._bell.ring(appended.head)
        for decision, outcome in zip(decisions, appended.outcomes, strict=True):
            if decision.events and (stream := decision.envelope.stream) in folded:
                last = LastEvent(decision.version, outcome.command_id, appended.recorded_at, outcome.position)
                folded[stream] = folded[stream]._replace(last=last)
        for stream, one in folded.items():
            if not self._states.put(stream, one) and (decider := self._domain.decider_of_stream(stream)):
                self._tell_unkept({decider.name: f"{one.size_bytes} bytes"}, "state too large to be kept in memory")
        return [outcome for outcome in appended.outcomes if not (outcome.status == "parked" and outcome.code == codes.KEY_REUSED)]


def _sort_out(codec: Codec, envelopes: Sequence[Envelope], decided: dict[str, Outcome]) -> tuple[list[Envelope], list[Envelope]]:
    """The commands to decide, each once, in order; and those whose idempotency key is already taken by another body."""
    fresh, reused = dict[str, Envelope](), dict[tuple[str, str], Envelope]()
    for envelope in envelopes:
        first = decided.get(envelope.command_id)
        if first is not None and first.status == "parked" and envelope.attempt > first.attempt:
            first = None
        holder = fresh.get(envelope.command_id) or first
        if holder is None or (isinstance(holder, Envelope) and envelope.attempt > holder.attempt):
            fresh[envelope.command_id] = envelope
        elif not codec.is_same(envelope, holder.fingerprint):
            reused[envelope.command_id, envelope.fingerprint] = envelope
    return list(fresh.values()), list(reused.values())


def _reused(envelope: Envelope) -> Decision:
    why = "the idempotency key came with another body in the same instant: that one has the outcome, this one had no effect"
    return Decision(envelope, "parked", 0, (), codes.KEY_REUSED, None, why)
