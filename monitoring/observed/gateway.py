"""What a gateway does, counted: commands accepted, queries answered, requests refused."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from twofold.kernel.envelope import Envelope
from twofold.kernel.ports import CommandQueue
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed import replaced

QUERY_STATUSES = ("200", "404", "503")
"""What nearly every query is answered with; the series of others begin with their first."""


def observe_queue(port: CommandQueue, metrics: Metrics, commands: Iterable[str]) -> CommandQueue:
    """`commands` are all that may come."""
    for command in commands:
        metrics.accepted.labels(command)

    def put(envelope: Envelope) -> Future[None]:
        accepted = port.put(envelope)
        accepted.add_done_callback(lambda done: count(envelope.type, done))
        return accepted

    def count(command: str, done: Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            metrics.accepted.labels(command).inc()

    return cast(CommandQueue, replaced(port, put=put))


def queue_observer(metrics: Metrics) -> Callable[[Mapping[int, float]], None]:
    """To be told, by lane, how long a command would wait."""

    def observe(seconds: Mapping[int, float]) -> None:
        metrics.queue_seconds.clear()  # there may be fewer lanes than there were
        for lane, of_lane in seconds.items():
            metrics.queue_seconds.labels(str(lane)).set(of_lane)

    return observe


def query_observer(metrics: Metrics, views: Iterable[str]) -> Callable[[str, int, float], None]:
    """To be told the view, the HTTP status and the seconds of every query. `views` are all that may be asked."""
    for view in views:
        metrics.query_seconds.labels(view)
        for status in QUERY_STATUSES:
            metrics.queries.labels(view, status)

    def observe(view: str, status: int, seconds: float) -> None:
        metrics.queries.labels(view, str(status)).inc()
        metrics.query_seconds.labels(view).observe(seconds)

    return observe


def refusal_counter(metrics: Metrics) -> Callable[[str, str], None]:
    """To be told the neighbour and the reason of every refusal."""

    def count(neighbour: str, reason: str) -> None:
        metrics.refusals.labels(neighbour, reason).inc()

    return count
