"""Rebuilds over HTTP: who may ask for one, and what is answered where there is none (test_rebuild.py has them run)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.kernel.errors import Detached
from twofold.kernel.log import Page

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


async def test_what_needs_detached_events_is_not_begun(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be `building` until somebody brought them back; rows that stand behind them can be gone back to."""
    await running.count("a", 1, "red", Prefer="wait=5")
    assert (await running.call("POST", PATH)).status == 202
    await running.call("DELETE", PATH)
    page = running.parts.events.page

    def behind(after: int, limit: int, types: Collection[str] | None = None) -> Page:
        if after < 1:
            raise Detached(1)
        return page(after, limit, types)

    monkeypatch.setattr(running.parts.events, "page", behind)
    refused = is_problem(await running.call("POST", PATH), 409, "cannot-rebuild")
    assert "of positions 1 to 1" in refused["detail"] and "twofold partitions attach" in refused["detail"]
    assert (await running.call("GET", PATH)).json["state"] == "cancelled"
