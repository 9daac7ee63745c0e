"""What is parked, as a gateway tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system import gateway_domain
from tests.system.gateway_domain import POISON
from tests.system.gateway_rig import Rig, is_problem, rig


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def test_a_token_is_not_answered_without_an_event_that_is_of_another_row_now(
    running: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug was in `keys`: the row that lacks the event is not the one that is parked."""
    before = (await running.count("b", 1, Prefer="wait=5")).json["command_id"]
    token = (await running.count("a", POISON)).json["command_id"]
    answer = await running.call("GET", "/views/tallies/a", Consistency_Token=token, Prefer="wait=2")
    assert is_problem(answer, 503, "view-behind")["state"] == "parked"
    monkeypatch.setitem(gateway_domain.RENAMED, "a", "elsewhere")
    assert (await running.call("POST", "/parked/key-tallies-a/retry")).status == 202
    for _ in range(50):
        (key,) = (await running.call("GET", "/parked")).json["keys"]
        if key["attempts"] == 2:
            break
        await asyncio.sleep(0.1)
    assert "keys no longer gives this key" in key["error"]
    await asyncio.sleep(1.0)
    for path in ("/views/tallies/a", "/views/tallies/elsewhere", "/views/tallies"):
        answer = await running.call("GET", path, Consistency_Token=token, Prefer="wait=0.2")
        assert is_problem(answer, 503, "view-behind")["state"] == "parked"
    assert (await running.call("GET", "/views/tallies/b", Consistency_Token=before)).status == 200
    assert (await running.call("POST", "/parked/key-tallies-a/discard")).status == 202
    answer = await running.call("GET", "/views/tallies/elsewhere", Consistency_Token=token, Prefer="wait=5")
    assert answer.status == 404, "given up, by somebody who knew"
