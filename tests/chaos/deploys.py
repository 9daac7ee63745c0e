"""A rolling deploy under load, there and back, in the order that docs/operate.md says; clients are behind a load balancer.

    v1 ── migrate, workers, projectors, gateways ──> v2 ── migrate, projectors, gateways, workers ──> v1
                                                     └ all rows compared                              └ all rows compared

Nothing is lost, done twice, parked, read stale, *or refused*: a deploy is nobody's business but its operator's.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.chaos.balancer import Asked, Askers, Balancer
from tests.chaos.checker import Violation
from tests.chaos.client import Load
from tests.chaos.record import Record
from tests.chaos.rooms import Room, wait_until
from tests.chaos.rounds import SETTLE_SECONDS_MAX, Round, settle
from tests.chaos.served import MEMBERS_SECONDS_MAX, MIGRATE_SECONDS_MAX, Backends, Plan, Served
from tests.chaos.stories import Step, Story
from tests.servers import Servers
from twofold.kernel.domain import load_domain

BEFORE, AFTER = "tests.chaos.till_v1", "tests.chaos.till_v2"
THERE, BACK = ("workers", "readmodels", "gateway"), ("readmodels", "gateway", "workers")
"""In which order the rooms are replaced, after `migrate`."""
ASKERS, STREAMS, PAUSE_SECONDS = 8, 24, 0.05
STEADY_SECONDS = 1.0
"""Of load before a deploy, and after it."""
LOAD_SECONDS_MAX = 300.0
SWAP_SECONDS_MAX = 30.0
EMPTIED_SHARE = 0.1
REFUSED = "a deploy refuses nothing"
MEMBER = "SELECT 1 FROM members WHERE member LIKE %s"
BUILDING = "SELECT view FROM read.generations WHERE state = 'building'"
TRIED_AGAIN = frozenset({"ServerDisconnectedError", "ClientOSError", "ClientConnectorError", "ClientConnectionResetError"})
"""Why a client may have to send a command again: the connection was closed by a gateway that stops."""


class Deployed(Served):
    """One system whose version can be changed, room by room. `checker` is the one of the version that is deployed."""

    slow_stops: list[str] = []

    def deploy(self, domain: str, rooms: Sequence[str], random: Random) -> None:
        """Replace every process of these rooms, one at a time: the new one beside the old one, or after it."""
        self.plan = replace(self.plan, domain=domain)
        migrate = self.command("migrate")
        migrate.start()
        migrate.wait_done(MIGRATE_SECONDS_MAX)
        running = {"workers": self.workers, "readmodels": self.projectors, "gateway": self.gateways}
        for room in rooms:
            for number, old in enumerate(list(running[room])):
                self._replace(running[room], old, self.room(room, number), is_beside=random.random() < 0.5)
        wait_until("the rows of this version answer", lambda: not self.stores.select(BUILDING), SWAP_SECONDS_MAX, self.tails)
        self.stores = self.new_stores()
        self._closing.callback(self.stores.close)
        self.checker = self.checker.of(load_domain(domain), self.stores)

    def _replace(self, running: list[Room], old: Room, new: Room, is_beside: bool) -> None:
        """Old and new gateways are asked whether they are ready for as long as they live: nobody is warned that one will stop."""
        self._closing.callback(new.stop)
        running.append(new)
        if is_beside:
            self._start(new)
        if not old.stop():
            self.slow_stops = [*self.slow_stops, old.name]
        running.remove(old)
        if not is_beside:
            self._start(new)

    def _start(self, new: Room) -> None:
        """Return when it is ready, and one of the members."""
        new.start()
        new.wait_ready()
        like = f"%-{new.pid}-%"
        wait_until("it is a member", lambda: bool(self.stores.select(MEMBER, [like])), MEMBERS_SECONDS_MAX, new.tail)


def rolling_rounds(servers: Servers, backends: Backends, folder: Path, count: int, random: Random) -> Iterator[Round]:
    """Every round is one way there and back, of the same system: a version that was deployed before is met again."""
    with Deployed(backends, folder, Plan(BEFORE)) as served:
        for number in range(count):
            yield asyncio.run(_there_and_back(served, f"deploy{number}", random))


async def _there_and_back(served: Deployed, name: str, random: Random) -> Round:
    start = time.monotonic()
    records: list[Record] = []
    balancer = Balancer(lambda: served.urls)
    looking = asyncio.create_task(balancer.run())
    try:
        await balancer.wait()
        askers = Askers(balancer.ready, name, random)

        async def there() -> None:
            await asyncio.to_thread(served.deploy, AFTER, THERE, random)
            askers.is_later = True

        async def back() -> None:
            await askers.earlier()
            await asyncio.to_thread(served.deploy, BEFORE, BACK, random)

        violations: list[Violation] = []
        settle_seconds = 0.0
        for leg in (there, back):
            record = askers.record = Record()
            records.append(record)
            load = Load(balancer.ready, record, f"{name}-{leg.__name__}", random, (_of_any_leg,))
            await _under_load(load, askers, leg)
            unsettled, seconds = await asyncio.to_thread(settle, served, record, SETTLE_SECONDS_MAX)
            settle_seconds = max(settle_seconds, seconds)
            violations += unsettled + await asyncio.to_thread(served.checker.check, record)
            violations += await asyncio.to_thread(served.checker.check_all_rows)
    finally:
        looking.cancel()
    asked, accepted_count = askers.asked, sum(len(record.accepted) for record in records)
    retries: Counter[str] = sum((record.retries for record in records), Counter())
    violations += nothing_is_refused(retries, asked, balancer.gaps)
    violations += [Violation("a process that is told to stop does", room) for room in served.slow_stops]
    violations += [Violation("every process lives", room.name) for room in served.rooms if not room.is_alive()]
    return Round(
        "rolling-deploy",
        f"there and back, {asked.right} reads of own writes",
        accepted_count,
        accepted_count / (time.monotonic() - start),
        retries.total() + asked.again,
        settle_seconds,
        asked.slowest_seconds,
        violations,
    )


async def _under_load(load: Load, askers: Askers, leg: Callable[[], Awaitable[None]]) -> None:
    clients = [
        asyncio.create_task(load.run(LOAD_SECONDS_MAX, STREAMS, 0, PAUSE_SECONDS)),
        asyncio.create_task(askers.run(ASKERS)),
    ]
    try:
        await asyncio.sleep(STEADY_SECONDS)
        await leg()
        await asyncio.sleep(STEADY_SECONDS)
        load.end()
        askers.end()
        await asyncio.gather(*clients)
    finally:
        for client in clients:
            client.cancel()


def nothing_is_refused(retries: Mapping[str, int], asked: Asked, gaps: Sequence[str]) -> list[Violation]:
    """Of what came to a gateway that said it was ready; and one always was."""
    found = [Violation(REFUSED, f"{kind}, {times} times") for kind, times in retries.items() if kind not in TRIED_AGAIN]
    found += [Violation(REFUSED, line) for line in (*asked.refused, *gaps)]
    return found + [Violation("who has written reads what he wrote", line) for line in asked.stale]


def _of_any_leg(name: str, random: Random) -> Story:
    """The same tills there and back."""
    return till_story(name.replace("-there-", "-").replace("-back-", "-"), random)


def till_story(name: str, random: Random) -> Story:
    """Deposits, each larger than the one before, into a till that is emptied now and then; or twice, which changes nothing."""
    amount = 0
    while True:
        amount += 1
        yield Step("Deposit", f"till-{name}", {"till": name, "amount": amount})
        if random.random() < EMPTIED_SHARE:
            for _ in range(random.randint(1, 2)):
                yield Step("Empty", f"till-{name}", {"till": name})
