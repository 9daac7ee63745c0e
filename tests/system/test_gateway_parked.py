"""What is parked, as a gateway tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.system import gateway_domain
from tests.system.gateway_domain import KEYLESS, POISON
from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.client import Gateway, ViewBehind
from twofold.terminal import escaped
from twofold.watch import show_audit, show_parked


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


async def _parked(running: Rig, count: int) -> Any:
    for _ in range(50):
        parked = (await running.call("GET", "/parked")).json
        if len(parked["keys"]) >= count:
            return parked
        await asyncio.sleep(0.1)
    raise AssertionError("nothing is parked")


async def test_an_event_whose_keys_cannot_be_named_is_listed_once(running: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """It was four entries with one ref, and said that `evolve` had raised."""
    await running.count("a", KEYLESS, Prefer="wait=5")
    token = (await running.count("b", POISON)).json["command_id"]
    await running.call("GET", "/views/tallies/b", Consistency_Token=token, Prefer="wait=3")
    parked = await _parked(running, 2)
    stream, key = parked["keys"]
    assert (stream["key"], stream["reason"], len(stream["slices"])) == ("!stream/tally-a", "keys or decoding raised", 2)
    assert (key["key"], key["reason"], len(key["slices"])) == ("b", "evolve raised", 1)
    assert (await running.call("GET", "/parked?limit=2")).json == parked
    for typed in (stream["ref"], "key-tallies-!stream/tally-a"):
        assert (await running.call("GET", "/parked/" + escaped(typed))).json["ref"] == stream["ref"]
    shown = (await running.call("GET", "/parked/" + stream["ref"])).json
    assert (shown["slices"], shown["waiting_positions"]) == (stream["slices"], [1])
    await asyncio.sleep(0.6)
    (view,) = (await running.call("GET", "/views")).json["views"]
    assert view["parked_keys"] == 2
    show_parked(parked)
    assert "keys or decoding" in (told := capsys.readouterr().out) and told.count("stream") == 2


async def test_an_audit_does_not_pass_over_what_is_parked(running: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """The row lacked its event, and the audit ended well."""
    await running.count("a", POISON, Prefer="wait=5")
    await _parked(running, 1)
    with pytest.raises(ViewBehind, match="parked because of a bug.*`twofold parked list`") as behind:
        await asyncio.to_thread(Gateway(running.url).get, "tallies", "a", after="1", wait_seconds=0.1)
    assert behind.value.state == "parked"
    answer = (await running.call("POST", "/views/tallies/audit")).json
    assert (answer["checked"], answer["differences"], answer["parked"]) == (0, [], 1)
    assert await asyncio.to_thread(show_audit, Gateway(running.url), None) == 1
    assert "tallies: 0 keys compared, 1 parked (twofold parked list)" in capsys.readouterr().out
