"""Ports that count. Each wraps the port of the same name and is transparent for every call it does not name."""

from __future__ import annotations

import time
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, cast

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Appended, Decision
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import CommandQueue, EventStore, InlineProjection, ViewStore
from twofold.kernel.rows import Advance
from twofold.kernel.view import SliceId
from twofold.monitoring.metrics import Metrics

Execute = Callable[[Sequence[Envelope]], list[Outcome]]


class _Wrapped:
    def __init__(self, port: Any, metrics: Metrics) -> None:
        self._port = port
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class _ObservedEventStore(_Wrapped):
    def append(self, decisions: Sequence[Decision], inline: InlineProjection | None = None) -> Appended:
        try:
            appended: Appended = self._port.append(decisions, inline)
        except Conflict:
            self._metrics.conflicts.inc()
            raise
        self._metrics.batch_commands.observe(len(decisions))
        for (command, status), count in Counter((outcome.type, outcome.status) for outcome in appended.outcomes).items():
            self._metrics.decided.labels(command, status).inc(count)
        for event_type, count in Counter(chain.from_iterable(outcome.events for outcome in appended.outcomes)).items():
            self._metrics.appended.labels(event_type).inc(count)
        return appended


class _ObservedViewStore(_Wrapped):
    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        moved: set[SliceId] = self._port.commit(advances)
        now = time.time()
        for advance in advances:
            if advance.slice in moved and advance.recorded_at:
                visibility = self._metrics.visibility.labels(advance.slice.view)
                self._metrics.view_events.labels(advance.slice.view).inc(len(advance.recorded_at))
                for recorded_at in advance.recorded_at:
                    visibility.observe(max(0.0, now - recorded_at.timestamp()))
        return moved


class _ObservedQueue(_Wrapped):
    def put(self, envelope: Envelope) -> Future[None]:
        accepted: Future[None] = self._port.put(envelope)
        accepted.add_done_callback(lambda done: self._count(envelope.type, done))
        return accepted

    def _count(self, command: str, done: Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._metrics.accepted.labels(command).inc()


def observe_event_store(port: EventStore, metrics: Metrics) -> EventStore:
    return cast(EventStore, _ObservedEventStore(port, metrics))


def observe_view_store(port: ViewStore, metrics: Metrics) -> ViewStore:
    return cast(ViewStore, _ObservedViewStore(port, metrics))


def observe_queue(port: CommandQueue, metrics: Metrics) -> CommandQueue:
    return cast(CommandQueue, _ObservedQueue(port, metrics))


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
