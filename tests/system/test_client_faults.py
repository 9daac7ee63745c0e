"""A gateway that is killed under its clients: nothing is lost or doubled from where they stand."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.embedded import Embedded
from tests.system.clients import CLIENTS, client
from tests.system.gateway_domain import Count
from twofold.client import BulkResult, Gateway, bulks

ITEMS, ARRAY, KILLS = 3_000, 100, 3
SECONDS_MAX = 120.0


class Killer:
    """Kills the system and starts it again, a moment after it was told to."""

    def __init__(self, system: Embedded, seed: int) -> None:
        self._system = system
        self._random = random.Random(seed)
        self._told = threading.Semaphore(0)

    def tell(self) -> None:
        self._told.release()

    def run(self) -> None:
        for _ in range(KILLS):
            assert self._told.acquire(timeout=SECONDS_MAX)
            time.sleep(self._random.random() / 20)
            self._system.room.kill()
            self._system.room.start()
            self._system.room.wait_ready()


def sent(gateway: Gateway, killer: Killer) -> Iterator[BulkResult]:
    """A bulk, and the killer told so now and then, just before the next array leaves."""
    for result in gateway.bulk(
        Count(f"t{number % 50}", 1) if number % 7 else Count(f"t{number % 50}", 0) for number in range(ITEMS)
    ):
        if result.index % (ITEMS // KILLS) == ARRAY * 3 - 1:
            killer.tell()
        yield result


def followed(gateway: Gateway, count: int) -> list[int]:
    positions = []
    for event in gateway.events():
        positions.append(event.position)
        if len(positions) == count:
            return positions
    raise AssertionError("an event stream has no end")


def watched(gateway: Gateway, key: str, last: int) -> list[int]:
    counts = []
    for row in gateway.watch("tallies", key):
        counts.append(row["count"] if row else 0)
        if counts[-1] == last:
            return counts
    raise AssertionError("nor has this one")


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_gateway_that_is_killed_in_the_middle_loses_and_doubles_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bulk goes on under the same keys; an event stream, behind the last event; a watched row, with what it is now."""
    monkeypatch.setattr(bulks, "ITEMS_MAX", ARRAY)
    facts = sum(1 for number in range(ITEMS) if number % 7)
    last = sum(1 for number in range(ITEMS) if number % 7 and number % 50 == 1)
    with (
        Embedded(tmp_path, "tests.system.gateway_domain") as system,
        client(kind, system.room.url, patience_seconds=SECONDS_MAX) as gateway,
        ThreadPoolExecutor(3) as threads,
    ):
        killer = Killer(system, seed=7)
        killing = threads.submit(killer.run)
        events = threads.submit(followed, gateway, facts)
        rows = threads.submit(watched, gateway, "t1", last)
        results = list(sent(gateway, killer))
        killing.result(SECONDS_MAX)
        assert [one.index for one in results] == list(range(ITEMS))
        assert [one.refusal for one in results if one.refusal] == []
        assert len({one.command_id for one in results}) == ITEMS
        outcomes = [gateway.wait(one.command_id or "", 30).status for one in results[::10]]
        assert set(outcomes) <= {"succeeded", "ignored"}
        assert events.result(SECONDS_MAX) == list(range(1, facts + 1)), "each once, in order"
        seen = rows.result(SECONDS_MAX)
        assert seen == sorted(seen) and seen[-1] == last, "rows never go back"
        assert gateway.call("GET", "/events?limit=1")["head"] == facts
