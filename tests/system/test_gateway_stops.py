"""A gateway that is told to stop tells everybody what it knows, at once, and leaves no client in doubt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.system.gateway_rig import is_problem, rig

CLIENTS = 8
SECONDS_MAX = 8.0


async def test_a_query_that_waits_for_its_token_is_told_before_the_end_that_the_view_is_behind(tmp_path: Path) -> None:
    """It was held for as long as it had asked for, and then cut."""
    async with rig(tmp_path, projecting=False) as running:
        token = (await running.count("a", Prefer="wait=5")).headers["Consistency-Token"]
        paths = ("/views/tallies/a", "/views/tallies")
        queries = [asyncio.create_task(running.call("GET", path, Consistency_Token=token, Prefer="wait=30")) for path in paths]
        await asyncio.sleep(0.5)
        async with asyncio.timeout(SECONDS_MAX):
            await running.stop()
            answers = await asyncio.gather(*queries)
    assert [is_problem(answer, 503, "view-behind")["state"] for answer in answers] == ["behind", "behind"]
    assert [answer.headers["Retry-After"] for answer in answers] == ["1", "1"]


async def test_who_waits_is_answered_at_once_and_who_keeps_a_connection_is_told_to_close_it(tmp_path: Path) -> None:
    """What was accepted is in its lane: 202 says so. A connection that is cut instead leaves its client guessing."""
    told: list[str] = []

    async def client(number: int, **headers: str) -> None:
        """Posts over one connection until it is told that an answer was the last."""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    body = {"tally_id": f"t{number}", "by": 1}
                    async with session.post(f"{running.url}/commands/Count", json=body, headers=headers) as response:
                        await response.read()
                        if response.headers.get("Connection") == "close":
                            told.append(f"{response.status}")
                            return
                except aiohttp.ClientError as error:
                    told.append(repr(error))
                    return

    async with rig(tmp_path, working=False) as running:
        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        clients += [asyncio.create_task(client(CLIENTS + number, Prefer="wait=30")) for number in range(CLIENTS)]
        await asyncio.sleep(1.0)
        async with asyncio.timeout(SECONDS_MAX):
            await running.stop()
            await asyncio.wait(clients)
        assert told == ["202"] * 2 * CLIENTS
