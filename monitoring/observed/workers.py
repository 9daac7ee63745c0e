"""What workers do, counted: batches, decisions, events, and how long commands took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import cast, get_args

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Appended, Decision, Snapshot
from twofold.kernel.outcome import Outcome, Status
from twofold.kernel.ports import EventStore, InlineProjection
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed import replaced

Execute = Callable[[Sequence[Envelope]], list[Outcome]]


def observe_event_store(port: EventStore, metrics: Metrics, commands: Iterable[str], events: Iterable[str]) -> EventStore:
    """`commands` are all that may be decided, `events` all that may be appended, by their names on the wire."""
    for command in commands:
        for status in get_args(Status):
            metrics.decided.labels(command, status)
    for event_type in events:
        metrics.appended.labels(event_type)

    def append(
        decisions: Sequence[Decision], inline: InlineProjection | None = None, snapshots: Sequence[Snapshot] = ()
    ) -> Appended:
        try:
            appended = port.append(decisions, inline, snapshots)
        except Conflict:
            metrics.conflicts.inc()
            raise
        metrics.batch_commands.observe(len(decisions))
        for (command, status), count in Counter((outcome.type, outcome.status) for outcome in appended.outcomes).items():
            metrics.decided.labels(command, status).inc(count)
        for event_type, count in Counter(chain.from_iterable(outcome.events for outcome in appended.outcomes)).items():
            metrics.appended.labels(event_type).inc(count)
        return appended

    return cast(EventStore, replaced(port, append=append))


def observe_execute(execute: Execute, metrics: Metrics) -> Execute:
    """Times every batch: how long its commands queued, and how long deciding and committing them took."""
    queue, decide, total = (metrics.command_seconds.labels(stage) for stage in ("queue", "decide", "total"))

    def timed(envelopes: Sequence[Envelope]) -> list[Outcome]:
        taken = time.time()
        outcomes = execute(envelopes)
        done = time.time()
        for envelope in envelopes:
            accepted = envelope.accepted_at.timestamp()
            queue.observe(max(0.0, taken - accepted))
            decide.observe(done - taken)
            total.observe(max(0.0, done - accepted))
        return outcomes

    return timed
