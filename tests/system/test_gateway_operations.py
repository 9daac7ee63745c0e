"""What those who run it ask a gateway: its lanes, and who is alive. One gateway, everything else embedded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.kernel.lanes import Epoch, LaneState
from twofold.kernel.members import Member


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, working=False) as made:
        yield made


async def test_lanes_are_shown_with_what_waits_and_for_how_long(idle: Rig) -> None:
    before = (await idle.call("GET", "/lanes")).json
    assert before == {"epoch": 0, "count": 2, "depths": {"0": 0, "1": 0}, "queue_seconds": {"0": 0.0, "1": 0.0}}
    await idle.count("a")
    await asyncio.sleep(0.2)
    waiting = (await idle.call("GET", "/lanes")).json
    assert sum(waiting["depths"].values()) == 1
    assert max(waiting["queue_seconds"].values()) >= 0.2 and min(waiting["queue_seconds"].values()) == 0
    idle.parts.work()
    async with asyncio.timeout(10):
        while (await idle.call("GET", "/lanes")).json != before:
            await asyncio.sleep(0.05)


async def test_a_drain_in_progress_is_shown_and_no_other_is_begun_beside_it(running: Rig) -> None:
    running.parts.state = LaneState(Epoch(3, 4), Epoch(2, 5), frozenset({512, 513}))
    shown = (await running.call("PUT", "/lanes", {"count": 4})).json
    assert (shown["epoch"], shown["count"], shown["draining"]) == (3, 4, {"epoch": 2, "left": 3})
    assert (await running.call("GET", "/lanes")).json["draining"] == {"epoch": 2, "left": 3}
    problem = await running.call("PUT", "/lanes", {"count": 6})
    assert "ask again" in is_problem(problem, 409, "cannot-resize")["detail"]
    assert problem.headers["Retry-After"] == "1"
    running.parts.state = LaneState(Epoch(3, 4), Epoch(2, 5), frozenset(range(512, 517)), is_over=True)
    assert "draining" not in (await running.call("GET", "/lanes")).json


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"count": 0}', b'{"count": 257}', b'{"count": "3"}', b'{"count": 3, "epoch": 1}', b"["]
)
async def test_a_count_of_lanes_that_cannot_be_is_refused(running: Rig, body: bytes) -> None:
    is_problem(await running.call("PUT", "/lanes", body), 400, "malformed")


async def test_another_sites_page_cannot_change_the_lanes(running: Rig) -> None:
    is_problem(await running.call("PUT", "/lanes", {"count": 2}, Sec_Fetch_Site="cross-site"), 403, "cross-site")
    is_problem(await running.call("PUT", "/lanes", {"count": 2}, Origin="https://elsewhere.example"), 403, "cross-site")


async def test_members_are_shown_with_what_they_hold(running: Rig) -> None:
    began = datetime.now(UTC)
    running.leases.renew(Member("readmodels", "a-host-12-f00", "0.2.0"), ["tallies/1/0", "tallies/1/1"], 60.0)
    running.leases.renew(Member("workers", "b-34-f00", "0.2.0"), [], 60.0)
    running.leases.leave("workers", "w")
    one, other = (await running.call("GET", "/members")).json
    times = [datetime.fromisoformat(one.pop(name)) for name in ("since", "last_seen")]
    assert began <= times[0] <= times[1] <= datetime.now(UTC)
    slices = ["tallies/1/0", "tallies/1/1"]
    assert one == {"room": "readmodels", "host": "a-host", "pid": 12, "version": "0.2.0", "holds": slices, "standby": False}
    assert (other["room"], other["host"], other["pid"], other["holds"], other["standby"]) == ("workers", "b", 34, [], False)


async def test_a_scrape_tells_how_long_the_oldest_command_has_been_undecided(idle: Rig) -> None:
    """Also when the news of outcomes were lost: then the inbox knows."""
    await idle.call("GET", "/metrics")
    await idle.count("a")
    await asyncio.sleep(0.2)
    await idle.call("GET", "/metrics")
    assert idle.undecided[0] == 0.0 and 0.2 <= idle.undecided[1] < 30.0
    idle.parts.outcomes.tell = lambda outcomes: None  # type: ignore[method-assign]
    idle.parts.work()
    async with asyncio.timeout(10):
        while idle.undecided[-1] > 0.0:
            await asyncio.sleep(0.05)
            await idle.call("GET", "/metrics")
