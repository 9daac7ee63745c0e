"""The served system with PgBouncer, in transaction mode, before its PostgreSQL: everybody's connections are everybody's.

It is ended, killed or stopped in the middle of the load, and beside it a table is changed under statements that are prepared.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg

from tests.chaos.rounds import Round, rounds_of
from tests.chaos.scenarios import Scenario, restart
from tests.chaos.served import Backends, Plan, Served, by_way_of
from tests.servers import Servers
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import libpq

PAUSE_SHARE = 0.4
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.5, 5.0
"""A term of a lease ends in the longer ones."""
CODE_CHARS = range(60, 260)
"""How long a refusal's code may be: another number is another type to whoever has prepared a statement."""


class BehindPooler(Served):
    """Every room, and `migrate`, reach the log and the rows through it."""

    def __init__(self, backends: Backends, folder: Path, pooler: PgBouncer, plan: Plan | None = None) -> None:
        super().__init__(backends, folder, plan)
        self.pooler = pooler

    def _environment(self, room: str) -> dict[str, str]:
        environment = super()._environment(room)
        for name in ("TWOFOLD_DATABASE_URL", "TWOFOLD_READ_DATABASE_URL"):
            environment[name] = by_way_of(self.database_url, self.pooler.port)
        return environment


def pooler_rounds(servers: Servers, backends: Backends, folder: Path, count: int, random: Random) -> Iterator[Round]:
    with servers.private_pgbouncer(backends.postgres.url) as pooler, BehindPooler(backends, folder, pooler) as served:
        yield from rounds_of(served, Scenario("pooler", hurt_pooler), count, random)


def hurt_pooler(served: Served, random: Random) -> str:
    assert isinstance(served, BehindPooler)
    change = f"ALTER TABLE inbox ALTER COLUMN code TYPE varchar({random.choice(CODE_CHARS)})"
    with psycopg.connect(libpq(served.database_url), autocommit=True) as connection:
        connection.execute(change)
    time.sleep(random.uniform(0.0, 0.5))
    if random.random() >= PAUSE_SHARE:
        return f"a table changed; {restart(served.pooler, random)}"
    seconds = random.uniform(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX)
    os.kill(served.pooler.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(served.pooler.pid, signal.SIGCONT)
    return f"a table changed; pgbouncer stopped for {seconds:.1f} s and continued"
