"""The contract's metrics of one process, on a registry of its own. Labels are bounded: names a domain declares, never ids."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from twofold.kernel.errors import Neighbour

NO_ANSWER = "no answer"
"""The reason that any neighbour may have; its series exist before anybody was refused."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """Everything one process counts. Rates and latencies here; facts about the whole system in `facts.Facts`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.accepted = Counter(
            "twofold_commands_accepted", "Commands answered 202: durable in a lane.", ["command"], registry=registry
        )
        self.decided = Counter(
            "twofold_commands_decided", "Commands that got their outcome here.", ["command", "outcome"], registry=registry
        )
        self.command_seconds = Histogram(
            "twofold_command_seconds",
            "Seconds a command spent: queue = accepted until a worker took it, decide = until committed, total = both.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_commands = Histogram(
            "twofold_batch_commands", "Commands committed by one transaction.", buckets=BATCH_SIZES, registry=registry
        )
        self.conflicts = Counter("twofold_append_conflicts", "Batches decided again: a stream had moved.", registry=registry)
        self.appended = Counter("twofold_events_appended", "Events appended to the log here.", ["type"], registry=registry)
        self.visibility = Histogram(
            "twofold_view_visibility_seconds",
            "Seconds from append until the row that shows the event was committed.",
            ["view"],
            buckets=SECONDS,
            registry=registry,
        )
        self.view_events = Counter("twofold_view_events", "Events folded into rows here.", ["view"], registry=registry)
        self.queries = Counter("twofold_queries", "Queries answered, by HTTP status.", ["view", "status"], registry=registry)
        self.query_seconds = Histogram(
            "twofold_query_seconds", "Seconds to answer a query, waiting included.", ["view"], buckets=SECONDS, registry=registry
        )
        self.refusals = Counter(
            "twofold_refusals",
            "Requests answered 429 or 503: who has too much to do or did not answer, and why.",
            ["neighbour", "reason"],
            registry=registry,
        )
        self.not_known_seconds = Gauge(
            "twofold_commands_unknown_seconds",
            "How long a command that no worker knows has held up a lane here.",
            registry=registry,
        )
        self.undecided_seconds = Gauge(
            "twofold_undecided_seconds",
            "Age of the oldest command accepted here that has no outcome; of the last 50,000 of this process.",
            registry=registry,
        )
        self.queue_seconds = Gauge(
            "twofold_queue_seconds",
            "How long a command that comes in here now would wait for its worker.",
            ["lane"],
            registry=registry,
        )
        self.effect_calls = Counter(
            "twofold_effect_calls",
            "Calls to the outside, by what came of a try: succeeded, failed, timed_out; given_up after the last.",
            ["effect", "outcome"],
            registry=registry,
        )
        self.effect_breaker_open = Gauge(
            "twofold_effect_breaker_open",
            "1 while an effect rests here, since it failed so often in a row.",
            ["effect"],
            registry=registry,
        )
        for neighbour in Neighbour:
            self.refusals.labels(neighbour.value, NO_ANSWER)

    def exposition(self) -> tuple[bytes, str]:
        """The text Prometheus scrapes, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
