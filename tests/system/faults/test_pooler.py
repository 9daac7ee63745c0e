"""The served system with PgBouncer, in transaction mode, before its PostgreSQL: everybody's connections are everybody's."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.pooler import BehindPooler
from tests.chaos.served import Backends, Plan
from tests.servers import Servers
from tests.system.faults.test_killers import ANVILS, DOMAIN, Smithy

BATCHES, STRIKES = 12, 8
KILLED_AFTER = 4


def test_commands_are_decided_and_shown_through_a_pooler_also_when_a_worker_is_killed(
    servers: Servers, backends: Backends, tmp_path: Path
) -> None:
    """In order, once each, and read back with their own tokens; nothing is parked."""
    plan = Plan(DOMAIN, gateways=1, workers=2, projectors=1)
    with servers.private_pgbouncer(backends.postgres.url) as pooler, BehindPooler(backends, tmp_path, pooler, plan) as served:
        smithy = Smithy(served.gateways[0], served.workers[0])
        last: dict[str, str] = {}
        for batch in range(BATCHES):
            strikes = [{"anvil": anvil, "number": batch * STRIKES + n} for n in range(STRIKES) for anvil in ANVILS]
            last |= {str(s["anvil"]): i for s, i in zip(strikes, smithy.strike(strikes), strict=True)}
            if batch == KILLED_AFTER:
                served.workers[0].kill()
        expected = list(range(BATCHES * STRIKES))
        for anvil, command_id in last.items():
            assert smithy.status(command_id) == "succeeded"
            smithy.shown(anvil, expected)
        assert smithy.call("GET", "/parked") == {"commands": [], "keys": []}
