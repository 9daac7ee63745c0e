"""Ports that count: what is counted, when, and that a wrapped port answers as the plain one does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.test_workers_deciding import command
from twofold.kernel.errors import Conflict, Neighbour, Unavailable
from twofold.kernel.log import Appended
from twofold.kernel.outcome import Outcome
from twofold.kernel.rows import Advance, Drain
from twofold.kernel.view import SliceId
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.gateway import observe_queue, query_observer, queue_observer, refusal_counter
from twofold.monitoring.observed.readmodels import observe_projection
from twofold.monitoring.observed.workers import observe_event_store, observe_execute

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def values(metrics: Metrics, *named: str) -> dict[str, float]:
    """Samples whose name ends so, by name and labels."""
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name.endswith(named):
                labels = ",".join(f"{value}" for _, value in sorted(sample.labels.items()))
                found[f"{sample.name.removeprefix('twofold_')} {labels}".strip()] = sample.value
    return found


async def test_what_is_accepted_is_counted_and_nothing_else() -> None:
    metrics, futures = Metrics(), list[asyncio.Future[None]]()
    loop = asyncio.get_running_loop()

    def put(envelope: Any) -> asyncio.Future[None]:
        futures.append(loop.create_future())
        return futures[-1]

    queue: Any = observe_queue(SimpleNamespace(put=put, other=lambda: "as it is"), metrics, ["Add", "Take"])
    assert values(metrics, "accepted_total") == {"commands_accepted_total Add": 0.0, "commands_accepted_total Take": 0.0}
    assert queue.other() == "as it is" and not hasattr(queue, "_private")
    asked = [queue.put(command(str(number), 1)) for number in range(3)]
    assert asked == futures
    futures[0].set_result(None)
    futures[1].set_exception(Unavailable(Neighbour.BROKER))
    futures[2].cancel()
    await asyncio.sleep(0)
    assert values(metrics, "accepted_total")["commands_accepted_total Add"] == 1.0
    assert futures[1].exception() is not None


def test_queues_queries_and_refusals_are_counted() -> None:
    metrics = Metrics()
    observe = queue_observer(metrics)
    observe({0: 1.5, 7: 0.0})
    assert sorted(values(metrics, "queue_seconds").values()) == [0.0, 1.5]
    observe({7: 2.0})
    assert list(values(metrics, "queue_seconds").values()) == [2.0]
    query = query_observer(metrics, ["orders"])
    assert sorted(values(metrics, "queries_total").values()) == [0.0, 0.0, 0.0]
    assert list(values(metrics, "query_seconds_count").values()) == [0.0]
    query("orders", 200, 0.25)
    query("orders", 410, 0.5)
    assert sorted(values(metrics, "queries_total").values()) == [0.0, 0.0, 1.0, 1.0]
    assert list(values(metrics, "query_seconds_sum").values()) == [0.75]
    refusal_counter(metrics)("broker", "away")
    assert sum(values(metrics, "refusals_total").values()) == 1.0


def test_what_was_folded_and_how_soon_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of what moved; and no clock is ahead of another by less than nothing."""
    metrics, one, other = Metrics(), SliceId("orders", 1, 0), SliceId("orders", 1, 1)
    monkeypatch.setattr(time, "time", lambda: NOW.timestamp())
    drained = [True]
    port: Any = SimpleNamespace(commit=lambda advances: {one}, drain=lambda line: drained[0], more=3)
    observed = observe_projection(port, metrics, ["orders", "stock"])
    assert observed.more == 3
    assert sorted(values(metrics, "visibility_seconds_count").values()) == [0.0, 0.0]
    seen = (NOW - timedelta(seconds=2), NOW + timedelta(seconds=9))
    assert observed.commit([Advance(one, 0, 2, {}, recorded_at=seen), Advance(other, 0, 1, {}, recorded_at=seen)]) == {one}
    assert observed.commit([Advance(one, 2, 3, {})]) == {one}
    line = Drain(one, 3, "k", 1, recorded_at=(NOW - timedelta(seconds=3),))
    assert observed.drain(line) is True
    drained[0] = False
    assert observed.drain(line) is False
    found = values(metrics, "visibility_seconds_count", "visibility_seconds_sum", "view_events_total")
    assert sorted(value for name, value in found.items() if name.endswith("orders")) == [3.0, 3.0, 5.0]


def made_outcome(status: Any, events: tuple[str, ...]) -> Outcome:
    given = {"command_id": "c", "type": "Add", "status": status, "events": events}
    return SimpleNamespace(**given)  # type: ignore[return-value]


def test_what_workers_decide_and_append_is_counted() -> None:
    metrics = Metrics()
    outcomes = (made_outcome("succeeded", ("Added", "Added")), made_outcome("succeeded", ("Added",)), made_outcome("ignored", ()))
    appended = Appended(outcomes, 9, NOW)
    conflicts = [Conflict(), None]
    given: list[Any] = []

    def append(*all_given: Any) -> Appended:
        given.append(all_given)
        if (conflict := conflicts.pop(0)) is not None:
            raise conflict
        return appended

    store: Any = observe_event_store(SimpleNamespace(append=append, read=1), metrics, ["Add"], ["Added", "Taken"])
    assert store.read == 1
    assert sorted(values(metrics, "events_appended_total").values()) == [0.0, 0.0]
    assert sorted(values(metrics, "decided_total").values()) == [0.0] * 4
    with pytest.raises(Conflict):
        store.append(["d"])
    assert list(values(metrics, "conflicts_total").values()) == [1.0]
    assert list(values(metrics, "batch_commands_count").values()) == [0.0]
    assert store.append(["d", "e"], "inline", ["s"]) is appended
    assert given == [(["d"], None, ()), (["d", "e"], "inline", ["s"])]
    assert list(values(metrics, "batch_commands_sum").values()) == [2.0]
    assert sorted(values(metrics, "decided_total").values()) == [0.0, 0.0, 1.0, 2.0]
    assert sorted(values(metrics, "events_appended_total").values()) == [0.0, 3.0]


def test_how_long_commands_took_by_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    asked = command("1", 1)
    clock = [asked.accepted_at.timestamp() + 2.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    def execute(envelopes: Any) -> list[Any]:
        clock[0] += 0.5
        return ["outcome"]

    timed = observe_execute(execute, metrics)
    done: Any = timed([asked])
    assert done == ["outcome"]
    assert sorted(values(metrics, "command_seconds_sum").values()) == [0.5, 2.0, 2.5]
    assert list(values(metrics, "command_seconds_count").values()) == [1.0] * 3
    clock[0] -= 100.0
    timed([asked])
    assert sorted(values(metrics, "command_seconds_sum").values()) == [1.0, 2.0, 2.5], "nothing takes less than no time"
