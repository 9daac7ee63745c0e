"""Live views over HTTP: asked by key like any other, as new as the log, and with nothing to rebuild, to list or to compare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import twofold.readmodels.live.folding
from tests.system import gateway_live_domain
from tests.system.gateway_rig import Rig, is_problem, rig
from tests.system.test_gateway_log import following
from twofold.gateway.queries.lag import FRESH_SECONDS


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, module=gateway_live_domain) as made:
        yield made


@pytest.fixture
async def unprojected(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, projecting=False, module=gateway_live_domain) as made:
        yield made


async def test_a_live_row_shows_a_command_as_soon_as_it_is_decided_with_nobody_folding(unprojected: Rig) -> None:
    sent = await unprojected.count("a", 3, Prefer="wait=5")
    assert sent.json["status"] == "succeeded"
    answer = await unprojected.call("GET", "/views/tallies_now/a")
    assert (answer.status, answer.json) == (200, {"tally_id": "a", "count": 3, "colour": "blue"})
    assert (answer.headers["View-Position"], answer.headers["View-Lag"]) == ("1", "0.000")
    again = await unprojected.call("GET", "/views/tallies_now/a", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.headers["ETag"]) == (304, answer.headers["ETag"])
    is_problem(await unprojected.call("GET", "/views/tallies_now/b"), 404, "no-such-row")
    await unprojected.count("a", 1, "gone", Prefer="wait=5")
    is_problem(await unprojected.call("GET", "/views/tallies_now/a"), 404, "no-such-row")


async def test_a_token_is_waited_for_while_the_command_waits(tmp_path: Path) -> None:
    async with rig(tmp_path, working=False, module=gateway_live_domain) as idle:
        sent = await idle.count("a", 3)
        token = sent.json["command_id"]
        behind = await idle.call("GET", "/views/tallies_now/a", Consistency_Token=token, Prefer="wait=0")
        assert is_problem(behind, 503, "view-behind")["state"] == "pending"
        waiting = asyncio.create_task(idle.call("GET", "/views/tallies_now/a", Consistency_Token=token, Prefer="wait=10"))
        await asyncio.sleep(0.05)
        idle.parts.work()
        assert (await waiting).json["count"] == 3


async def test_the_token_covers_the_view_that_is_looked_through(unprojected: Rig) -> None:
    """Whose rows name the streams: what they do not know yet would be missing."""
    token = (await unprojected.count("a", 3, Prefer="wait=5")).json["command_id"]
    early = await unprojected.call("GET", "/views/colours/blue", Consistency_Token=token, Prefer="wait=0")
    assert is_problem(early, 503, "view-behind")["state"] == "behind"
    lenient = await unprojected.call("GET", "/views/colours/blue", Consistency_Token=token, Prefer="wait=0, handling=lenient")
    is_problem(lenient, 404, "no-such-row")
    assert lenient.headers["View-Position"] == "0"
    waiting = asyncio.create_task(unprojected.call("GET", "/views/colours/blue", Consistency_Token=token, Prefer="wait=10"))
    await asyncio.sleep(0.1)
    unprojected.parts.project()
    answer = await waiting
    assert (answer.json, answer.headers["View-Position"]) == ({"colour": "blue", "count": 3}, "1")


async def test_the_event_stream_sends_the_row_now_and_at_every_change(unprojected: Rig) -> None:
    await unprojected.count("a", 3, Prefer="wait=5")
    async with following(unprojected, "/views/tallies_now/a") as shown:
        assert (await shown.next())[2]["count"] == 3
        await unprojected.count("b", 9, Prefer="wait=5")
        await unprojected.count("a", 4, Prefer="wait=5")
        assert (await shown.next())[2]["count"] == 7
        await unprojected.count("a", 1, "gone", Prefer="wait=5")
        assert (await shown.next())[1] == "gone"


async def test_there_is_no_list_of_live_rows(running: Rig) -> None:
    for path in ("/views/tallies_now", "/views/tallies_now?colour=blue", "/views/tallies_now?nonsense=1"):
        assert "live: its rows are folded" in is_problem(await running.call("GET", path), 400, "malformed")["detail"]
    document = (await running.call("GET", "/openapi.json")).json
    assert "/views/tallies_now/{key}" in document["paths"] and "/views/tallies_now" not in document["paths"]


async def test_nothing_of_it_is_stored_and_everybody_says_so(running: Rig) -> None:
    await running.count("a", 3, Prefer="wait=5")
    await running.call("GET", "/views/tallies/a", Consistency_Token="1")
    await asyncio.sleep(FRESH_SECONDS)
    views = {view["name"]: view for view in (await running.call("GET", "/views")).json["views"]}
    told = views["tallies_now"]
    assert (told["sync"], told["store"], told["slices"], told["state"], told["lag_events"]) == ("live", "none", 0, "live", 0)
    audit = await running.call("POST", "/views/tallies_now/audit")
    assert (audit.status, audit.json["checked"]) == (200, 0) and "nothing of it is stored" in audit.json["note"]
    refused = is_problem(await running.call("POST", "/views/tallies_now/rebuild"), 409, "cannot-rebuild")
    assert "nothing of it is stored" in refused["detail"]
    lag = (await running.call("GET", "/lag")).json["views"]
    assert lag["tallies_now"] == {"position": 1, "lag_events": 0, "lag_seconds": 0.0, "state": "live"}


async def test_a_row_of_too_much_is_a_problem_that_names_the_fix(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for by in (1, 2, 3):
        await running.count("a", by, Prefer="wait=5")
    monkeypatch.setattr(twofold.readmodels.live.folding, "EVENTS_MAX", 2)
    problem = is_problem(await running.call("GET", "/views/tallies_now/a"), 422, "too-much-to-fold")
    assert 'sync="async" or sync="inline" keeps its rows' in problem["detail"]
    assert running.queries[-1] == ("tallies_now", 422)


async def test_a_bug_in_the_view_is_told_to_who_meets_it_and_to_nobody_who_asked_beside_him(running: Rig) -> None:
    await running.count("a", 666, Prefer="wait=5")
    await running.count("b", 1, Prefer="wait=5")
    both = await asyncio.gather(*(running.call("GET", f"/views/tallies_now/{key}") for key in "ab"))
    is_problem(both[0], 500, "bug")
    assert both[1].json["count"] == 1


async def test_who_asks_for_the_same_row_at_once_is_answered_from_one_fold(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await running.count("a", 3, Prefer="wait=5")
    folds: list[object] = []
    fold = twofold.readmodels.live.folding.fold

    def counted(*arguments: object) -> object:
        folds.append(arguments[-1])
        return fold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(twofold.readmodels.live.store, "fold", counted)
    asked = [{"view": "tallies_now", "key": "a"}] * 20
    answers = (await running.call("POST", "/queries", asked)).json
    assert [one["row"]["count"] for one in answers] == [3] * 20 and folds == ["a"]
