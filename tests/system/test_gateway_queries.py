"""POST /queries: several questions, one token, one answer each; a bad one never fails its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.system import gateway_live_domain
from tests.system.gateway_rig import Rig, is_problem, rig


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, module=gateway_live_domain) as made:
        yield made


async def filled(rig: Rig) -> str:
    """The token of the last of five tallies."""
    for number in range(1, 6):
        sent = await rig.count(f"t{number}", number, "red" if number % 2 else "blue", Prefer="wait=5")
    return str(sent.json["command_id"])


async def test_each_question_is_answered_in_order_as_get_would(running: Rig) -> None:
    token = await filled(running)
    asked: list[Any] = [
        {"view": "tallies", "key": "t2"},
        {"view": "tallies", "where": {"colour": "red"}, "order": "-count", "limit": 2},
        {"view": "tallies_now", "key": "t5"},
        {"view": "colours", "key": "red"},
        {"view": "tallies", "where": {"count.from": 2, "count.to": 4}},
        {"view": "tallies", "order": None},
        {"view": "tallies", "key": "nobody"},
    ]
    answer = await running.call("POST", "/queries", asked, Consistency_Token=token, Prefer="wait=10")
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=10")
    row, page, now, colour, some, all_, none = answer.json
    assert row == {
        "status": 200,
        "position": 5,
        "lag": 0.0,
        "etag": row["etag"],
        "row": {"tally_id": "t2", "count": 2, "colour": "blue"},
    }
    assert [one["tally_id"] for one in page["items"]] == ["t5", "t3"] and page["next"]
    assert (now["row"]["count"], now["position"]) == (5, 5)
    assert (colour["row"], colour["position"]) == ({"colour": "red", "count": 9}, 5)
    assert [one["tally_id"] for one in some["items"]] == ["t2", "t3"] and some["next"] is None
    assert len(all_["items"]) == 5
    assert (none["status"], none["problem"]["type"]) == (404, "/problems/no-such-row")
    [more] = (await running.call("POST", "/queries", [asked[1] | {"cursor": page["next"]}])).json
    assert [one["tally_id"] for one in more["items"]] == ["t1"]
    single = await running.call("GET", "/views/tallies/t2")
    assert (row["row"], row["etag"]) == (single.json, single.headers["ETag"])


@pytest.mark.parametrize(
    ("question", "status", "kind", "said"),
    [
        (7, 400, "malformed", "a question is an object"),
        ({}, 404, "unknown-view", "tallies, tallies_now, colours"),
        ({"view": ["tallies"], "key": "a"}, 404, "unknown-view", "tallies"),
        ({"view": "nonsense", "key": "a"}, 404, "unknown-view", "tallies"),
        ({"view": "tallies", "key": 7}, 400, "malformed", "its key, a text"),
        ({"view": "tallies", "key": ""}, 400, "malformed", "its key, a text"),
        ({"view": "tallies", "key": "a", "limit": 3}, 400, "malformed", "nothing is asked"),
        ({"view": "tallies", "key": "a\0"}, 400, "malformed", "cannot be stored"),
        ({"view": "tallies", "where": {"colour": "a\0"}}, 400, "malformed", "cannot be stored"),
        ({"view": "tallies", "where": {"size": 3}}, 400, "malformed", "no index, order or parameter 'size'"),
        ({"view": "tallies", "where": {"colour": None}}, 400, "malformed", "'colour' is a text, a number"),
        ({"view": "tallies", "where": {"colour": ["red"]}}, 400, "malformed", "'colour' is a text, a number"),
        ({"view": "tallies", "where": {"limit": 1}, "limit": 2}, 400, "malformed", "where is an object"),
        ({"view": "tallies", "where": "colour=red"}, 400, "malformed", "where is an object"),
        ({"view": "tallies", "limit": 0}, 400, "malformed", "limit must be"),
        ({"view": "tallies", "limit": 1001}, 400, "malformed", "limit must be"),
        ({"view": "tallies", "cursor": "nonsense"}, 400, "malformed", "not a cursor"),
        ({"view": "tallies", "q": "text"}, 400, "malformed", "'q'"),
        ({"view": "tallies_now"}, 400, "malformed", "live: its rows are folded"),
    ],
)
async def test_a_bad_question_has_its_problem_and_its_neighbour_its_answer(
    running: Rig, question: Any, status: int, kind: str, said: str
) -> None:
    await running.count("a", 3, Prefer="wait=5")
    answer = await running.call("POST", "/queries", [question, {"view": "tallies_now", "key": "a"}])
    bad, good = answer.json
    assert (answer.status, bad["status"], bad["problem"]["type"]) == (200, status, f"/problems/{kind}")
    assert said in bad["problem"]["detail"] and bad["problem"]["status"] == status
    assert good["row"]["count"] == 3


async def test_what_is_no_list_of_questions_is_refused_as_a_whole(running: Rig) -> None:
    for body in (b"", b"{}", b"[", b"7", b'["\xff"]', b"[" * 5_000):
        is_problem(await running.call("POST", "/queries", body), 400, "malformed")
    many = await running.call("POST", "/queries", [{"view": "tallies", "key": "a"}] * 21)
    assert "at most 20" in is_problem(many, 400, "malformed")["detail"]
    assert (await running.call("POST", "/queries", [])).json == []
    is_problem(await running.call("POST", "/queries", b" " * 300_000), 413, "too-large")
    is_problem(await running.call("POST", "/queries", [], Consistency_Token="nonsense"), 400, "malformed")
    is_problem(await running.call("POST", "/queries", b"[]", Content_Type="text/plain"), 415, "unsupported-media-type")
    is_problem(await running.call("POST", "/queries", b"[]", Content_Type="application/x-ndjson"), 415, "unsupported-media-type")
    is_problem(await running.call("POST", "/queries", [], Sec_Fetch_Site="cross-site"), 403, "cross-site")


async def test_no_answer_is_from_before_the_token(tmp_path: Path) -> None:
    """One that does not get there in time says so, in its own place; all of them wait side by side."""
    async with rig(tmp_path, projecting=False, module=gateway_live_domain) as unprojected:
        token = (await unprojected.count("a", 3, Prefer="wait=5")).json["command_id"]
        asked: list[Any] = [{"view": "tallies", "key": "a"}, {"view": "tallies_now", "key": "a"}, {"view": "tallies"}]
        asked.append({"view": "colours", "key": "blue"})

        async def answers(prefer: str) -> Any:
            return (await unprojected.call("POST", "/queries", asked, Consistency_Token=token, Prefer=prefer)).json

        began = asyncio.get_running_loop().time()
        row, now, page, colour = await answers("wait=1")
        assert asyncio.get_running_loop().time() - began < 2.5
        assert now["row"]["count"] == 3
        for late in (row, page, colour):
            assert (late["status"], late["problem"]["type"], late["problem"]["state"]) == (503, "/problems/view-behind", "behind")
        assert [one["status"] for one in await answers("wait=0, handling=lenient")] == [404, 200, 200, 404]
        waiting = asyncio.create_task(answers("wait=10"))
        await asyncio.sleep(0.1)
        unprojected.parts.project()
        assert [one["status"] for one in await waiting] == [200] * 4


async def test_questions_are_counted_by_their_views(running: Rig) -> None:
    await running.call("POST", "/queries", [{"view": "tallies", "key": "a"}, {"view": "tallies"}, {"view": "nonsense"}])
    assert sorted(running.queries) == [("tallies", 200), ("tallies", 404)]
