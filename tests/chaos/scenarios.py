"""The faults. Each hurts a running system in the middle of its load and leaves it whole again; what it did is one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import redis

from tests.chaos.client import BULK_TELLERS, SINGLE_STREAMS
from tests.chaos.cut_worker import LANES_GO_ON_SECONDS_MAX, cut_worker
from tests.chaos.rooms import Room, wait_until
from tests.chaos.served import TWICE, Served
from tests.servers import Server

ABSENT_SECONDS = 2.5
"""How long a killed process stays away: longer than a lease, so that its share has to move."""
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 2.0, 6.0
"""A paused process is past its lease (1.2 s), and in the longer pauses past its transactions' time limits too."""
LONG_PAUSE_SHARE = 0.2
LONG_PAUSE_SECONDS_MIN, LONG_PAUSE_SECONDS_MAX = 14.0, 18.0
"""Now and then so long that the broker gives its connection up (two heartbeats), and others go on with what it holds."""
LANE_COUNTS = (2, 8, 3)
OLD_LANES = "SELECT old_epoch FROM log WHERE old_epoch IS NOT NULL"
RESIZE_SECONDS = 2.0
"""About how long the command takes from its start to the new lanes: it is killed within."""
LANES_SECONDS_MAX = 90.0
CUTS_MAX = 6
CUT_SECONDS_MAX = 10.0

Hurt = Callable[[Served, Random], str]


@dataclass(frozen=True)
class Scenario:
    """`hurts` names what recovers: "lanes" or "slices"; the longest standstill of any of them is what a round reports."""

    name: str
    hurt: Hurt
    hurts: str = "lanes"
    load_seconds: float = 2.0
    before_seconds: tuple[float, float] = (0.5, 1.5)
    """The fault comes at a moment between these, from the beginning of the load."""
    single_streams: int = SINGLE_STREAMS
    bulk_tellers: int = BULK_TELLERS
    pause_seconds: float = 0.0
    standstill_seconds_max: float | None = None
    """A lane that stands still for longer is a broken law; None: what is not well may last as long as the fault."""


def kill_gateway(served: Served, random: Random) -> str:
    return _kill(random.choice(served.gateways), random.uniform(0, 1))


def kill_worker(served: Served, random: Random) -> str:
    return _kill(random.choice(served.workers), ABSENT_SECONDS)


def kill_projector(served: Served, random: Random) -> str:
    return _kill(random.choice(served.projectors), ABSENT_SECONDS)


def stop_worker(served: Served, random: Random) -> str:
    return _pause(random.choice(served.workers), random)


def stop_projector(served: Served, random: Random) -> str:
    return _pause(random.choice(served.projectors), random)


def restart_rabbitmq(served: Served, random: Random) -> str:
    return restart(served.backends.rabbitmq, random)


def restart_postgresql(served: Served, random: Random) -> str:
    return restart(served.backends.postgres, random)


def lose_redis(served: Served, random: Random) -> str:
    """Killed; and every second time it comes back empty."""
    did = restart(served.backends.redis, random)
    if random.random() < 0.5:
        return did
    redis.Redis.from_url(served.backends.redis.url).flushall()
    return f"{did}, then emptied"


def cut_after_commit(served: Served, random: Random) -> str:
    """The append is on its way; its answer never comes."""
    before = served.database_proxy.cut_count
    wanted = served.cut_appends = random.randint(2, CUTS_MAX)
    wait_until("appends are cut", lambda: served.database_proxy.cut_count >= before + wanted, CUT_SECONDS_MAX)
    return f"{wanted} appends cut after the commit was sent"


def cut_broker(served: Served, random: Random) -> str:
    cuts = random.randint(1, 3)
    for _ in range(cuts):
        served.broker_proxy.cut_all()
        time.sleep(random.uniform(0.1, 0.8))
    return f"workers' broker connections cut {cuts} times"


def resize_lanes(served: Served, random: Random) -> str:
    """Gateways and workers are killed on the way, and so is, every second time, whoever changes the lanes."""
    kills = 0
    for count in LANE_COUNTS:
        wait_until("nothing is left of the lanes before", lambda: not served.stores.select(OLD_LANES), LANES_SECONDS_MAX)
        command = served.command("lanes", str(count))
        command.start()
        time.sleep(random.uniform(0.0, RESIZE_SECONDS))
        if random.random() < 0.5 and command.is_alive():
            command.kill()
            kills += 1
        _kill(random.choice([*served.gateways, *served.workers]), random.uniform(0, ABSENT_SECONDS))
        if not command.is_alive():
            command.start()
        command.wait_done(LANES_SECONDS_MAX)
    return f"{' → '.join(map(str, LANE_COUNTS))} lanes, with a process killed each time, and {kills} times the command itself"


def deliver_twice(served: Served, random: Random) -> str:
    """The load goes through gateways that publish everything twice: see `gateways_of`."""
    return "every batch published twice"


SCENARIOS = (
    Scenario("kill-gateway", kill_gateway),
    Scenario("kill-worker", kill_worker),
    Scenario("kill-projector", kill_projector, "slices"),
    Scenario("restart-rabbitmq", restart_rabbitmq),
    Scenario("restart-postgresql", restart_postgresql),
    Scenario("lose-redis", lose_redis, "slices"),
    Scenario("cut-after-commit", cut_after_commit),
    Scenario("cut-broker", cut_broker),
    Scenario("deliver-twice", deliver_twice),
    Scenario("stop-worker", stop_worker),
    Scenario("stop-projector", stop_projector, "slices"),
    Scenario("cut-worker", cut_worker, standstill_seconds_max=LANES_GO_ON_SECONDS_MAX),
    Scenario("resize-lanes", resize_lanes, single_streams=40, bulk_tellers=1, pause_seconds=0.1),
)


@contextmanager
def gateways_of(scenario: Scenario, served: Served) -> Iterator[list[str]]:
    """Where a scenario's load is posted. Fails when the double publishing it stands for did not happen."""
    if scenario.hurt is not deliver_twice:
        yield served.urls
        return
    room = served.room("gateway", len(served.gateways), TWICE)
    room.start()
    try:
        room.wait_ready()
        yield [room.url]
        assert "published twice" in room.tail(), "nothing was published twice"
    finally:
        room.stop()


def _kill(room: Room, absent_seconds: float) -> str:
    room.kill()
    time.sleep(absent_seconds)
    room.start()
    room.wait_ready()
    return f"{room.name} killed, away for {absent_seconds:.1f} s"


def _pause(room: Room, random: Random) -> str:
    seconds = random.uniform(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX)
    if random.random() < LONG_PAUSE_SHARE:
        seconds = random.uniform(LONG_PAUSE_SECONDS_MIN, LONG_PAUSE_SECONDS_MAX)
    room.pause()
    time.sleep(seconds)
    room.resume()
    return f"{room.name} stopped for {seconds:.1f} s and continued"


def restart(server: Server, random: Random) -> str:
    """Stopped or killed, and back within a second or so; what was done."""
    how = "killed" if random.random() < 0.5 else "stopped"
    start = time.monotonic()
    (server.kill if how == "killed" else server.stop)()
    time.sleep(random.uniform(0, 1))
    server.start()
    return f"{server.name} {how}, back after {time.monotonic() - start:.1f} s"
