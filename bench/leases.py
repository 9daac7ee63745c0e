"""How long renewing takes in a large house: 20 members, 100 views of 64 slices, one PostgreSQL.

Run it with `python -m bench.leases`. A renewal of a settled house, all members at once; and how long everybody needs to
find its share anew when one of them goes.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.servers import Servers
from tests.servers.postgres import DurablePostgres
from twofold.database.postgres import LOG, connect
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.members import Member
from twofold.kernel.ports import Leases

MEMBERS = 20
SLICES = [f"view_{view}/{number}" for view in range(100) for number in range(64)]
ROUNDS = 50
TERM_SECONDS = 60.0


def main() -> None:
    servers = Servers(DurablePostgres)
    try:
        with servers.database("bench_leases") as url:
            migrate(url)
            engine = connect(url, MEMBERS, LOG)
            _measure(PostgresLeases(engine))
            engine.dispose()
    finally:
        servers.close()


def _measure(leases: Leases) -> None:
    members = [Member("readmodels", f"member-{number:02}") for number in range(MEMBERS)]
    with ThreadPoolExecutor(MEMBERS) as threads:
        print(f"found their shares     {_settle(threads, leases, members):8.1f} ms")
        took = sorted(ms for _ in range(ROUNDS) for ms in threads.map(lambda member: _renew(leases, member)[1], members))
        print(f"renewal, at once       {median(took):8.1f} ms median, {took[-len(took) // 100]:.1f} p99, {took[-1]:.1f} most")
        alone = [_renew(leases, member)[1] for _ in range(ROUNDS) for member in members]
        print(f"renewal, one by one    {median(alone):8.1f} ms median, {max(alone):.1f} most")
        begin = time.perf_counter()
        for member in members:
            _renew(leases, member)
        print(f"all of them, in turn   {(time.perf_counter() - begin) * 1000:8.1f} ms")
        leases.leave(members[0].room, members[0].name)
        print(f"after one has left     {_settle(threads, leases, members[1:]):8.1f} ms")


def _settle(threads: ThreadPoolExecutor, leases: Leases, members: list[Member]) -> float:
    """Milliseconds until every slice is held by somebody, and nobody's share changes any more."""
    begin = time.perf_counter()
    before, now = [0], _counts(threads, leases, members)
    while sum(now) < len(SLICES) or now != before:
        before, now = now, _counts(threads, leases, members)
    return (time.perf_counter() - begin) * 1000


def _counts(threads: ThreadPoolExecutor, leases: Leases, members: list[Member]) -> list[int]:
    return [count for count, _ in threads.map(lambda member: _renew(leases, member), members)]


def _renew(leases: Leases, member: Member) -> tuple[int, float]:
    begin = time.perf_counter()
    held = leases.renew(member, SLICES, TERM_SECONDS)
    return len(held), (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    main()
