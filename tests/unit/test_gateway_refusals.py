"""A refusal can be found: every 503 is counted, and logged, however many there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

import twofold.gateway.http.refusals
from twofold.gateway.http.problem import PROBLEM_TYPES, REFUSED, Problem, note_refusal, problem_of
from twofold.gateway.http.refusals import Refusals
from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.gateway import refusal_counter

LOG_SECONDS = 0.1


class Counted:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, neighbour: str, reason: str) -> None:
        self.counts[neighbour, reason] += 1


def told(lines: list[Any]) -> list[tuple[str, str, int]]:
    return [(line["neighbour"], line["reason"], line["count"]) for line in lines if line["event"] == "refused"]


async def test_an_outage_is_logged_at_once_and_then_once_a_second_with_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of lines a second would hide what else happens; a line that is never written would hide the outage."""
    monkeypatch.setattr(twofold.gateway.http.refusals, "LOG_SECONDS", LOG_SECONDS)
    counted = Counted()
    refusals = Refusals(counted)
    with capture_logs() as lines:
        for number in range(100):
            refusals.note(Unavailable(Neighbour.LOG, "no connection", detail=f"no {number}"))
        refusals.note(Unavailable(Neighbour.BROKER))
        assert told(lines) == [("log", "no connection", 1), ("broker", "no answer", 1)]
        await asyncio.sleep(1.5 * LOG_SECONDS)
        assert told(lines)[2:] == [("log", "no connection", 99)]
        assert lines[2]["detail"] == "no 99"
        await asyncio.sleep(1.5 * LOG_SECONDS)
        refusals.note(Unavailable(Neighbour.LOG, "no connection"))
        assert told(lines)[3:] == [("log", "no connection", 1)], "after a pause the first is logged at once again"
    assert counted.counts == {("log", "no connection"): 101, ("broker", "no answer"): 1}


async def test_what_is_not_logged_yet_is_logged_when_the_gateway_ends() -> None:
    refusals = Refusals(Counted())
    with capture_logs() as lines:
        for _ in range(5):
            refusals.note(Unavailable(Neighbour.REDIS))
        refusals.close()
    assert told(lines) == [("redis", "no answer", 1), ("redis", "no answer", 4)]


async def test_every_refusal_is_noted_and_no_other() -> None:
    counted = Counted()
    refusals = Refusals(counted)
    for problem_type in PROBLEM_TYPES.values():
        note_refusal(refusals, Problem(problem_type.name, "why"))
    assert counted.counts == {("gateway", one.name): 1 for one in PROBLEM_TYPES.values() if one.status in REFUSED}
    behind = Problem("view-behind", "why", cause=Unavailable(Neighbour.ROWS, "view behind"))
    note_refusal(refusals, behind)
    assert counted.counts["rows", "view behind"] == 1
    refusals.close()


def test_overload_never_reads_like_absence() -> None:
    """Whoever is overloaded needs less traffic, whoever is away needs somebody to look."""
    away = problem_of(Unavailable(Neighbour.BROKER, "not connected", retry_after_seconds=2.5))
    busy = problem_of(Unavailable(Neighbour.BROKER, "blocks publishers", is_overload=True))
    assert away and busy
    assert (away.type.name, away.status, away.headers["Retry-After"]) == ("unavailable", 503, "3")
    assert (busy.type.name, busy.status, busy.headers["Retry-After"]) == ("overloaded", 429, "1")
    assert "overload" in busy.type.title and "overload" not in away.type.title
    malformed = problem_of(Malformed("no"))
    assert malformed and malformed.cause is None


def test_the_counter_has_every_neighbour_from_the_start_and_counts() -> None:
    metrics = Metrics()
    count = refusal_counter(metrics)
    count("log", "no connection")
    text = metrics.exposition()[0].decode()
    assert 'twofold_refusals_total{neighbour="log",reason="no connection"} 1.0' in text
    for neighbour in Neighbour:
        assert f'twofold_refusals_total{{neighbour="{neighbour.value}",reason="no answer"}} 0.0' in text
