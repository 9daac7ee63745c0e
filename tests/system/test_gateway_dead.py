"""Dead letters over HTTP and by the command line: seen with why they died, brought back, or given up."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.gateway_rig import Rig, is_problem, rig

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Rig]:
    """Nobody decides, until told to."""
    async with rig(tmp_path, working=False) as made:
        yield made


def bury_all(idle: Rig, reason: str) -> None:
    for message_id, _, _ in idle.parts.dead.take(0, 100):
        idle.parts.dead.bury(message_id, reason)


async def twofold(idle: Rig, *arguments: str) -> tuple[int, str]:
    """Status and output of the command line."""
    environment = {**os.environ, "TWOFOLD_PORT": str(idle.port), "COLUMNS": "200"}
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "twofold", *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe)
    out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out + error).decode()


async def test_a_letter_is_listed_with_why_it_died_and_replayed_into_its_lane(idle: Rig) -> None:
    """Also by a gateway that remembers to have accepted it: an accepted command gets its outcome."""
    first = await idle.count("a", 1, Idempotency_Key="one")
    second = await idle.count("a", 2)
    bury_all(idle, "delivered too often")
    items = (await idle.call("GET", "/dead")).json["items"]
    commands = [command["command_id"] for item in items for command in item["commands"]]
    assert commands == [first.json["command_id"], second.json["command_id"]]
    assert {item["reason"] for item in items} == {"delivered too often"} and all(item["died_at"] for item in items)
    assert idle.parts.dead.depths() == {}
    for item in items:
        replayed = await idle.call("POST", f"/dead/{item['id']}/replay")
        assert (replayed.status, replayed.json) == (200, {"status": "replayed"})
        is_problem(await idle.call("POST", f"/dead/{item['id']}/replay"), 404, "no-such-letter")
    assert (await idle.call("GET", "/dead")).json == {"items": []}
    idle.parts.work()
    for command in commands:
        outcome = await idle.call("GET", f"/commands/{command}", Prefer="wait=5")
        assert outcome.json["status"] == "succeeded"


async def test_a_letter_nobody_can_read_is_kept_until_it_is_discarded(idle: Rig) -> None:
    """A replay of it would only die again."""
    idle.parts.dead.put([(0, b"not json")])
    bury_all(idle, "cannot be decoded")
    [item] = (await idle.call("GET", "/dead")).json["items"]
    assert (item["command_count"], item["bytes"]) == (0, 8)
    is_problem(await idle.call("POST", f"/dead/{item['id']}/replay"), 400, "malformed")
    assert (await idle.call("POST", f"/dead/{item['id']}/discard")).json == {"status": "discarded"}
    is_problem(await idle.call("POST", "/dead/nobody/discard"), 404, "no-such-letter")


async def test_a_replay_that_is_not_durable_leaves_the_letter_where_it_is(idle: Rig) -> None:
    """An operator may ask again."""
    await idle.count("a", 1)
    bury_all(idle, "delivered too often")
    [item] = (await idle.call("GET", "/dead")).json["items"]
    await idle.parts.queue._queue.close()
    is_problem(await idle.call("POST", f"/dead/{item['id']}/replay"), 503, "unavailable")
    assert (await idle.call("GET", "/dead")).json["items"] == [item]


async def test_the_command_line_lists_replays_and_discards(idle: Rig) -> None:
    """All of them at once, too, and one that cannot be replayed stands in nobody's way."""
    await idle.count("a", 1)
    idle.parts.dead.put([(0, b"not json")])
    bury_all(idle, "too often")
    await idle.count("a", 2)
    bury_all(idle, "too often")
    status, shown = await twofold(idle, "dead", "list")
    assert status == 0 and shown.count("too often") == 3 and "Count on tally-a" in shown
    status, told = await twofold(idle, "dead", "replay", "all")
    assert status == 1 and told.count("replayed") == 2 and "discard it" in told
    [item] = (await idle.call("GET", "/dead")).json["items"]
    status, told = await twofold(idle, "dead", "discard", item["id"])
    assert status == 0 and "discarded" in told
    assert (await twofold(idle, "dead", "list"))[1].strip() == "nothing is dead"
    assert sum(idle.parts.dead.depths().values()) == 2
