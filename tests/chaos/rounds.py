"""One round: load, a fault in the middle, silence, and then the checker.

Load (asyncio) ────────────────────────────┐ every command 202
  └─ a second later: hurt (a thread) ──────┤ whole again
Standstills (a thread) samples checkpoints │
                                           └──> settled? ──> Checker
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event, Thread

import psycopg
import redis

from tests.chaos.checker import Violation
from tests.chaos.client import Load
from tests.chaos.record import Record
from tests.chaos.scenarios import Scenario, gateways_of
from tests.chaos.served import LANES, Served
from twofold.kernel.ids import lane_of

LOAD_SECONDS_MAX = 600.0
AFTER_SECONDS = 1.0
"""Load goes on for so long after the system is whole again: the standstill of every lane has an end."""
SETTLE_SECONDS_MAX = 60.0
QUIET_SECONDS = 4.0
"""Longer than any pause of a worker or projector that is well."""
SAMPLE_SECONDS = 0.05


@dataclass
class Round:
    """What happened. `recovery_seconds` is the longest standstill of a lane or slice from the fault on."""

    scenario: str
    did: str
    accepted: int
    rate: float
    retries: int
    settle_seconds: float
    recovery_seconds: float
    violations: list[Violation]

    def __str__(self) -> str:
        verdict = f"{len(self.violations)} VIOLATIONS" if self.violations else "ok"
        return (
            f"{self.scenario}: {self.did}; {self.accepted} accepted ({self.rate:.0f}/s), {self.retries} retries,"
            f" recovery {self.recovery_seconds:.2f} s, settled in {self.settle_seconds:.1f} s: {verdict}"
        )


def run_round(
    served: Served, scenario: Scenario, name: str, random: Random, settle_seconds_max: float = SETTLE_SECONDS_MAX
) -> Round:
    """Raises nothing for a broken law: that is in `violations`, also when the system does not come to rest."""
    record = Record()
    start = time.monotonic()
    with gateways_of(scenario, served) as urls, Standstills(served) as standstills:
        did, fault_at = asyncio.run(load_and_hurt(served, scenario, Load(urls, record, name, random), random))
        load_seconds = time.monotonic() - start
        violations, settle_seconds = settle(served, record, settle_seconds_max)
    violations += served.checker.check(record)
    violations += [Violation("every process lives", room.name) for room in served.rooms if not room.is_alive()]
    lanes = lane_standstill(served, record, fault_at)
    violations += lanes_go_on(lanes, scenario.standstill_seconds_max)
    return Round(
        scenario=scenario.name,
        did=did,
        accepted=len(record.accepted),
        rate=len(record.accepted) / load_seconds,
        retries=record.retries.total(),
        settle_seconds=settle_seconds,
        recovery_seconds=standstills.longest_seconds if scenario.hurts == "slices" else lanes,
        violations=violations,
    )


def rounds_of(served: Served, scenario: Scenario, count: int, random: Random) -> Iterator[Round]:
    """So many rounds of one system, one after the other; in the last one every row is compared."""
    for number in range(count):
        one = run_round(served, scenario, f"{scenario.name}-{number}", random)
        if number == count - 1:
            one.violations += served.checker.check_all_rows()
        yield one


async def load_and_hurt(served: Served, scenario: Scenario, load: Load, random: Random) -> tuple[str, datetime]:
    """What was done, and when it began."""
    shape = (scenario.single_streams, scenario.bulk_tellers, scenario.pause_seconds)
    loading = asyncio.create_task(load.run(LOAD_SECONDS_MAX, *shape))
    try:
        await asyncio.sleep(random.uniform(*scenario.before_seconds))
        fault_at = datetime.now(UTC)
        did = await asyncio.to_thread(scenario.hurt, served, random)
        left = scenario.load_seconds - (datetime.now(UTC) - fault_at).total_seconds()
        await asyncio.sleep(max(AFTER_SECONDS, left))
        load.end()
        await loading
    finally:
        loading.cancel()
    return did, fault_at


def settle(served: Served, record: Record, seconds_max: float) -> tuple[list[Violation], float]:
    """Wait until all is done; or, after `seconds_max`, until the log has stood still long enough to say that nothing comes."""
    start = moved_at = time.monotonic()
    head = -1
    while not served.checker.is_settled(record):
        now = time.monotonic()
        head, moved_at = (head, moved_at) if served.stores.head() == head else (served.stores.head(), now)
        if now - start > seconds_max and (now - moved_at > QUIET_SECONDS or now - start > SETTLE_SECONDS_MAX):
            return [Violation("the system comes to rest", f"not within {now - start:.0f} s")], now - start
        time.sleep(SAMPLE_SECONDS)
    return [], time.monotonic() - start


def lanes_go_on(standstill_seconds: float, seconds_max: float | None) -> list[Violation]:
    """Whoever cannot work on a lane lets those go on with it who can."""
    if seconds_max is None or standstill_seconds <= seconds_max:
        return []
    return [Violation("lanes go to who can work on them", f"one stood still for {standstill_seconds:.1f} s")]


def lane_standstill(served: Served, record: Record, fault_at: datetime) -> float:
    """Seconds between two outcomes of one lane, from the fault on: the longest, over all lanes. By the inbox's own times."""
    decided: dict[int, list[datetime]] = defaultdict(list)
    for one in served.stores.inbox(record.accepted).values():
        decided[lane_of(one.stream, LANES)].append(one.decided_at)
    longest = timedelta()
    for times in decided.values():
        after = [fault_at, *sorted(moment for moment in times if moment > fault_at)]
        longest = max([longest, *(later - earlier for earlier, later in zip(after, after[1:], strict=False))])
    return longest.total_seconds()


class Standstills:
    """Samples checkpoints while the block runs: how long did a slice stand still although the log went on?"""

    def __init__(self, served: Served) -> None:
        self._stores = served.new_stores()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="standstills", daemon=True)
        self.longest_seconds = 0.0

    def __enter__(self) -> Standstills:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._stores.close()

    def _run(self) -> None:
        seen: dict[tuple[str, int], tuple[int, float]] = {}
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                head, checkpoints = self._stores.head(), self._stores.checkpoints()
            except (psycopg.Error, redis.RedisError, OSError):
                seen.clear()
                continue
            now = time.monotonic()
            for view, positions in checkpoints.items():
                for number, position in enumerate(positions):
                    last, since = seen.get((view, number), (-1, now))
                    if position == last and position < head:
                        self.longest_seconds = max(self.longest_seconds, now - since)
                    else:
                        seen[view, number] = (position, now)
