"""The log loses its tail while nobody asks a gateway anything: the first who does is not answered from what never was."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from tests.system.gateway_rig import is_problem, rig
from twofold.gateway.queries.lag import DOUBT_SECONDS


async def test_the_first_token_after_a_failover_is_not_answered_from_lost_rows(tmp_path: Path) -> None:
    """The gateway had last seen the view beside the log of before, in which there was nothing wrong with it."""
    async with rig(tmp_path) as running:
        for by in (1, 2, 3, 4):
            token = (await running.count("a", by, Prefer="wait=10")).json["command_id"]
        assert (await running.call("GET", "/views/tallies/a", Consistency_Token=token, Prefer="wait=10")).json["count"] == 10
        assert (await running.call("GET", "/lag")).json["views"]["tallies"]["state"] == "live"
        await asyncio.sleep(DOUBT_SECONDS * 1.5)
        lose_after(tmp_path / "log.db", 1)
        new = (await running.count("a", 100, Prefer="wait=10")).json
        assert (new["position"], new["status"]) == (2, "succeeded")
        answer = await running.call("GET", "/views/tallies/a", Consistency_Token=new["command_id"], Prefer="wait=1")
        assert is_problem(answer, 503, "view-behind")["state"] == "diverged"


def lose_after(log: Path, position: int) -> None:
    """Under the system's feet, as a promoted replica that had not got the rest."""
    with sqlite3.connect(log, timeout=10) as connection:
        connection.execute("DROP TRIGGER events_are_not_removed")
        for table in ("events", "inbox"):
            connection.execute(f"DELETE FROM {table} WHERE position > ?", (position,))
        connection.execute("UPDATE log_head SET position = ?", (position,))
    connection.close()
