"""Rebuilds over HTTP: who may ask for one, and what is answered where there is none (test_rebuild.py has them run)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.gateway_rig import Rig, is_problem, rig

PATH = "/views/tallies/rebuild"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def test_a_rebuild_is_asked_for_looked_at_and_called_off(running: Rig) -> None:
    is_problem(await running.call("GET", PATH), 404, "no-rebuild")
    is_problem(await running.call("DELETE", PATH), 404, "no-rebuild")
    is_problem(await running.call("POST", f"{PATH}/rollback"), 404, "no-rebuild")
    begun = await running.call("POST", PATH, {"throttle": 0.5})
    assert (begun.status, begun.json) == (202, {"view": "tallies", "generation": 2, "state": "building"})
    is_problem(await running.call("POST", PATH), 409, "cannot-rebuild")
    is_problem(await running.call("POST", f"{PATH}/rollback"), 409, "cannot-rebuild")
    shown = (await running.call("GET", PATH)).json
    assert shown["throttle"] == 0.5 and shown["differences"] == [] and shown["position"] <= shown["head"]
    assert (await running.call("DELETE", PATH)).json["state"] == "cancelled"
    assert (await running.call("DELETE", PATH)).json["state"] == "cancelled", "asked twice, done once"
    assert (await running.call("GET", PATH)).json["state"] == "cancelled"
    assert (await running.call("POST", PATH)).json["generation"] == 3


async def test_what_cannot_be_rebuilt_is_told_why(running: Rig) -> None:
    is_problem(await running.call("POST", "/views/nothing/rebuild"), 404, "unknown-view")
    for wish in ({"throttle": 0}, {"throttle": "fast"}, {"speed": 1}):
        is_problem(await running.call("POST", PATH, wish), 400, "malformed")
    for method, path in (("POST", PATH), ("DELETE", PATH), ("POST", f"{PATH}/rollback")):
        is_problem(await running.call(method, path, Sec_Fetch_Site="cross-site"), 403, "cross-site")
