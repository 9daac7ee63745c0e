"""One worker is cut from PostgreSQL alone: it still has the broker, and lanes that nobody is given unless it lets go.

healthy workers ──────────> PostgreSQL
cut ──> its own proxy ─╳─>                    broker <── all of them
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from random import Random

from tests.chaos.proxy import Proxy
from tests.chaos.rooms import wait_until
from tests.chaos.served import PLAIN, Served

LONG_SHARE = 0.4
SHORT_SECONDS_MIN, SHORT_SECONDS_MAX = 3.0, 8.0
LONG_SECONDS_MIN, LONG_SECONDS_MAX = 14.0, 18.0
"""Longer than a lease (1.2 s), and here longer than any lane may stand still (LANES_GO_ON_SECONDS_MAX), so that is seen."""
LANES_GO_ON_SECONDS_MAX = 10.0
"""A term, then the broker hands the lane and what was under way over: some two seconds on an idle machine."""
HOLDS_SECONDS_MAX = 30.0
HOLDERS = (
    "SELECT count(DISTINCT owner) FROM leases JOIN members ON members.room = leases.room AND member = owner"
    " WHERE leases.room = 'workers' AND members.expires_at > now()"
)
RENEWED = "SELECT count(*) FROM members WHERE room = 'workers' AND seen_at > %s"


def cut_worker(served: Served, random: Random) -> str:
    """One more worker takes its share of the lanes, is cut, and is made whole again: then it has to do its share once more."""
    seconds = random.uniform(SHORT_SECONDS_MIN, SHORT_SECONDS_MAX)
    if random.random() < LONG_SHARE:
        seconds = random.uniform(LONG_SECONDS_MIN, LONG_SECONDS_MAX)
    return cut_for(served, seconds)


def cut_for(served: Served, seconds: float, module: Sequence[str] = PLAIN) -> str:
    with Proxy("127.0.0.1", served.backends.postgres.port) as proxy:
        worker = served.room("workers", len(served.workers), module, proxy.port)
        worker.start()
        try:
            everybody = len(served.workers) + 1
            wait_until("it holds lanes", lambda: _holders(served) == everybody, HOLDS_SECONDS_MAX, worker.tail)
            given_at = served.stores.select("SELECT clock_timestamp()")[0][0]
            wait_until("it knows that it does", lambda: _renewed(served, given_at) == everybody, HOLDS_SECONDS_MAX, worker.tail)
            proxy.refuse(True)
            proxy.cut_all()
            time.sleep(seconds)
            assert worker.is_alive(), worker.tail()
            proxy.refuse(False)
            wait_until("it holds lanes again", lambda: _holders(served) == everybody, HOLDS_SECONDS_MAX, worker.tail)
        finally:
            worker.stop()
    return f"{worker.name} cut from PostgreSQL for {seconds:.1f} s"


def _holders(served: Served) -> int:
    """How many workers are alive and hold lanes."""
    return int(served.stores.select(HOLDERS)[0][0])


def _renewed(served: Served, since: datetime) -> int:
    """How many workers have renewed since: who renews has heard what it was given the time before."""
    return int(served.stores.select(RENEWED, (since,))[0][0])
