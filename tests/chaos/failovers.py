"""The database is lost under load, and what goes on in its place has not got its last commits.

    failover   a replica that was held back takes over at the primary's address; rows live elsewhere, and remember
    restore    a backup of a moment ago is restored into an empty database; its rows are in it, those in Redis remember

Then what docs/operate.md says is typed, and no more. Every round has servers and a system of its own: a log that has once lost
its tail is no place to look for the next loss.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import MappingProxyType

import psycopg

from tests.chaos import lost_tail
from tests.chaos.checker import Violation
from tests.chaos.client import Load
from tests.chaos.lost_tail import Loss, Snapshot, Watch, ask, snapshot, still
from tests.chaos.read_your_writes import submit_then_query
from tests.chaos.record import Record
from tests.chaos.rooms import wait_until
from tests.chaos.rounds import SETTLE_SECONDS_MAX, Round, lane_standstill, load_and_hurt, settle
from tests.chaos.scenarios import Scenario
from tests.chaos.served import ROWS_URL, Backends, Plan, Served
from tests.servers import Servers
from tests.servers.binaries import path_of
from tests.servers.postgres import Postgres, Standby, libpq
from tests.servers.server import free_port

FAILOVER, RESTORE = "failover", "restore"
LOST_SECONDS = (0.6, 1.5)
"""How long load goes on after the last commit that is kept."""
QUIET_SECONDS, QUIET_SECONDS_MAX = 0.4, 5.0
TOOL_SECONDS_MAX = 60.0
LIVE_SECONDS_MAX = 20.0
PAIRS, ASKERS = 40, 8
SINGLE_STREAMS, BULK_TELLERS, PAUSE_SECONDS = 16, 1, 0.2

Lose = Callable[["Drama", Random], Loss]
Modules = Mapping[str, Sequence[str]]
NOTHING_PLANTED: Modules = MappingProxyType({})


def failover_round(
    servers: Servers, backends: Backends, folder: Path, name: str, random: Random, modules: Modules = NOTHING_PLANTED
) -> Round:
    """`backends` keep the rows; the log is on two servers of its own."""
    with servers.private_postgres() as primary, servers.standby(primary) as standby, _database(backends.postgres, name) as rows:
        plan = Plan(projectors=1, processes=1, modules=modules, environment={ROWS_URL: rows})
        with Served(Backends(primary, backends.rabbitmq, backends.redis), folder, plan) as served:
            return Drama(served).round(FAILOVER, name, random, lambda drama, chance: _fail_over(drama, standby, chance))


def restore_round(
    _: Servers, backends: Backends, folder: Path, name: str, random: Random, modules: Modules = NOTHING_PLANTED
) -> Round:
    with Served(backends, folder, Plan(projectors=1, processes=1, modules=modules)) as served:
        return Drama(served).round(RESTORE, name, random, _restore)


ROUNDS = {FAILOVER: failover_round, RESTORE: restore_round}


def failover_rounds(servers: Servers, backends: Backends, folder: Path, count: int, random: Random) -> Iterator[Round]:
    for number in range(count):
        yield failover_round(servers, backends, folder, f"{FAILOVER}-{number}", random)


def restore_rounds(servers: Servers, backends: Backends, folder: Path, count: int, random: Random) -> Iterator[Round]:
    for number in range(count):
        yield restore_round(servers, backends, folder, f"{RESTORE}-{number}", random)


class Drama:
    """One loss, from the load before it to the proof that all is well again."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.violations: list[Violation] = []
        self.loss = Loss(Snapshot([], {}), Snapshot([], {}), {})

    def round(self, scenario: str, name: str, random: Random, lose: Lose) -> Round:
        served, record = self.served, Record()
        load = Load(served.urls, record, name, random)
        start = time.monotonic()
        shape = Scenario(
            scenario,
            lambda _, chance: self._hurt(lose, chance),
            load_seconds=0.0,
            single_streams=SINGLE_STREAMS,
            bulk_tellers=BULK_TELLERS,
            pause_seconds=PAUSE_SECONDS,
        )
        did, fault_at = asyncio.run(load_and_hurt(served, shape, load, random))
        load_seconds = time.monotonic() - start
        self._ask_again(load, record)
        unrest, settle_seconds = settle(served, record, SETTLE_SECONDS_MAX)
        self.violations += unrest + served.checker.check(record) + served.checker.check_all_rows()
        self.violations += lost_tail.left_stays(self.loss.left, snapshot(libpq(served.database_url)))
        self.violations += [Violation("every process lives", room.name) for room in served.rooms if not room.is_alive()]
        self._all_is_well(name, random)
        recovery_seconds = lane_standstill(served, record, fault_at)
        accepted, retries = len(record.accepted), record.retries.total()
        return Round(scenario, did, accepted, accepted / load_seconds, retries, settle_seconds, recovery_seconds, self.violations)

    def nobody_is_fooled(self, loss: Loss) -> None:
        """Not by gateways that were not asked yet how the views are, whether they are new or have lived through it."""
        served = self.served
        wait_until("orders flow on", lambda: served.stores.head() > loss.head, SETTLE_SECONDS_MAX, served.tails)
        for url in served.urls:
            self.violations += lost_tail.no_token_is_answered(url, sorted(loss.diverged), str(loss.head + 1))

    def restart_gateways(self) -> None:
        """One after the other: the rest answers meanwhile."""
        for gateway in self.served.gateways:
            gateway.stop()
            gateway.start()
            gateway.wait_ready()

    def _hurt(self, lose: Lose, random: Random) -> str:
        monitoring = self.served.room("monitoring", 0)
        monitoring.start()
        metrics = f"http://127.0.0.1:{monitoring.environment['TWOFOLD_METRICS_PORT']}/metrics"
        wait_until("metrics are told", lambda: ask(metrics)[0] == 200, SETTLE_SECONDS_MAX, monitoring.tail)
        self.loss = loss = lose(self, random)
        try:
            if not loss.lost or not loss.diverged:
                raise RuntimeError(f"nothing was lost that anybody had seen: {len(loss.lost)} commands, {loss.checkpoints}")
            self.violations += lost_tail.left_is_a_beginning(loss)
            self._is_told(metrics, random)
            self._rebuild(sorted(loss.diverged))
        finally:
            monitoring.stop()
        lost = len(loss.before.events) - loss.head
        return (
            f"{lost} of {len(loss.before.events)} events and {len(loss.lost)} outcomes lost, {len(loss.diverged)} views rebuilt"
        )

    def _is_told(self, metrics: str, random: Random) -> None:
        """While new events flow in, beyond those that are lost: nobody takes the views that remember for what they were."""
        served, diverged = self.served, self.loss.diverged
        with Watch(served.urls, random) as watch:
            beyond = len(self.loss.before.events)
            wait_until("orders flow on", lambda: served.stores.head() > beyond, SETTLE_SECONDS_MAX, served.tails)
            status, said = self._run("doctor")
            self.violations += lost_tail.doctor_tells(status, said, diverged)
            self.violations += lost_tail.no_token_is_answered(served.urls[0], sorted(diverged), str(self.loss.head))
            _, facts = ask(metrics)
            self.violations += lost_tail.metric_tells(str(facts), diverged, served.checker.domain.views)
        self.violations += watch.broken(diverged)
        self.violations += lost_tail.nothing_is_folded_on(self.loss, served.stores.checkpoints())

    def _rebuild(self, views: list[str]) -> None:
        rebuilds = [self._command("rebuild", view) for view in views]
        for command in rebuilds:
            command.start()
        for command in rebuilds:
            command.wait_done(TOOL_SECONDS_MAX)

    def _ask_again(self, load: Load, record: Record) -> None:
        """A client that has kept what it sent sends it again, with its keys, in its order; what has none is gone."""
        served, lost = self.served, self.loss.lost
        waiting = record.accepted.keys() - lost
        with suppress(RuntimeError):
            wait_until("the broker's are decided", lambda: served.stores.has_outcomes(waiting), SETTLE_SECONDS_MAX)
        decided = served.stores.inbox(record.accepted)
        self.violations += lost_tail.only_the_lost_is_missing(record.accepted, decided, lost)
        missing = [command_id for command_id in record.accepted if command_id in lost and command_id not in decided]
        again = [load.kept[command_id] for command_id in missing if command_id in load.kept]
        record.unsure.update(record.accepted[one].stream for one in missing if one not in load.kept)
        record.forget(missing)
        asyncio.run(load.replay(again))

    def _all_is_well(self, name: str, random: Random) -> None:
        for url in self.served.urls:
            deadline = time.monotonic() + LIVE_SECONDS_MAX
            while (late := lost_tail.all_is_live(*ask(f"{url}/lag"))) and time.monotonic() < deadline:
                time.sleep(lost_tail.LOOK_SECONDS)
            self.violations += late
        self.violations += lost_tail.doctor_tells(*self._run("doctor"), diverged=())
        answers = asyncio.run(submit_then_query(self.served.urls, PAIRS, f"{name}-ryw", random, ASKERS))
        self.violations += [Violation("read your writes", line) for line in answers.stale + answers.unanswered]

    def _run(self, command: str) -> tuple[int | None, str]:
        """Exit status, and what was said."""
        room = self._command(command)
        room.log.unlink(missing_ok=True)
        room.start()
        wait_until(f"{command} is done", lambda: not room.is_alive(), TOOL_SECONDS_MAX)
        return room.exit_status, room.log.read_text()

    def _command(self, *arguments: str):  # type: ignore[no-untyped-def]
        command = self.served.command(*arguments)
        command.environment |= {"TWOFOLD_PORT": str(self.served.gateways[0].port), "COLUMNS": "300"}
        return command


def _fail_over(drama: Drama, standby: Standby, random: Random) -> Loss:
    """The replica gets nothing more; a while later its primary dies, and it answers in its place."""
    served, primary = drama.served, drama.served.backends.postgres
    standby.detach()
    left = snapshot(libpq(standby.url).rpartition("/")[0] + f"/{served.name}")
    time.sleep(random.uniform(*LOST_SECONDS))
    primary.kill()
    checkpoints = still(served.stores.checkpoints, QUIET_SECONDS, QUIET_SECONDS_MAX)
    standby.take_over()
    loss = Loss(_of_the_dead(primary, served), left, checkpoints)
    drama.nobody_is_fooled(loss)
    drama.restart_gateways()
    return loss


def _of_the_dead(primary: Postgres, served: Served) -> Snapshot:
    """What the primary had committed, asked at another address than its own."""
    primary.port = free_port()
    primary.start()
    try:
        return snapshot(libpq(primary.url).rpartition("/")[0] + f"/{served.name}")
    finally:
        primary.stop()


def _restore(drama: Drama, random: Random) -> Loss:
    """Back up and restore, as docs/operate.md says. The database of before is kept beside it, to be asked what it held."""
    served = drama.served
    dump, url = served.folder / "backup.dump", libpq(served.database_url)
    _tool("pg_dump", "--format=custom", f"--file={dump}", url)
    time.sleep(random.uniform(*LOST_SECONDS))
    for room in served.rooms:
        room.stop()
    checkpoints = {view: served.stores.checkpoints()[view] for view in served.stores.elsewhere}
    served.stores.close()
    with psycopg.connect(libpq(served.backends.postgres.url), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (served.name,))
        connection.execute(f'ALTER DATABASE "{served.name}" RENAME TO "{served.name}_lost"')
        connection.execute(f'CREATE DATABASE "{served.name}"')
    _tool("pg_restore", "--exit-on-error", f"--dbname={url}", str(dump))
    left = snapshot(url)
    migrate = served.command("migrate")
    migrate.start()
    migrate.wait_done(TOOL_SECONDS_MAX)
    for room in served.rooms:
        room.start()
    for room in served.rooms:
        room.wait_ready()
    loss = Loss(snapshot(f"{url}_lost"), left, checkpoints)
    drama.nobody_is_fooled(loss)
    return loss


@contextmanager
def _database(server: Postgres, name: str) -> Iterator[str]:
    """A database of this name, for rows."""
    with psycopg.connect(libpq(server.url), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield server.url.rpartition("/")[0] + f"/{name}"


def _tool(name: str, *arguments: str) -> None:
    done = subprocess.run([path_of(name), *arguments], capture_output=True, timeout=TOOL_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr.decode()}")
