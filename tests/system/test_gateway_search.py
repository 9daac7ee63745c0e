"""A view that is searched, over HTTP, on a whole embedded system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.system import searched_domain
from tests.system.gateway_rig import Rig, is_problem, rig
from tests.system.test_gateway_log import following


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, module=searched_domain) as made:
        for name, colour in (("one two", "red"), ("two three", "blue"), ("three", "blue")):
            token = (await made.count(name, len(name), colour)).json["command_id"]
        assert (await made.call("GET", "/views/searched", Consistency_Token=token)).status == 200
        yield made


async def test_a_search_answers_items_total_facets_and_next(running: Rig) -> None:
    """Also what has just been written: a token is waited for as in every view."""
    token = (await running.count("four two", colour="green")).json["command_id"]
    asked = "/views/searched?q=two&facets=colour&highlight=true&limit=2"
    first = await running.call("GET", asked, Consistency_Token=token)
    assert first.status == 200 and int(first.headers["View-Position"]) == 4
    assert first.json["total"] == 3 and first.json["facets"] == {"colour": {"blue": 1, "green": 1, "red": 1}}
    second = await running.call("GET", f"{asked}&cursor={quote(first.json['next'])}")
    items = first.json["items"] + second.json["items"]
    assert {item["tally_id"] for item in items} == {"one two", "two three", "four two"} and second.json["next"] is None
    assert all(item["_score"] > 0 for item in items)
    [shown] = [item["_highlights"] for item in items if item["colour"] == "green"]
    assert shown == {"text": ["Tally four <em>two</em> &lt;green&gt;"]}


async def test_filters_ranges_and_orders_are_those_of_every_view(running: Rig) -> None:
    def keys(answer: object) -> list[str]:
        return [item["tally_id"] for item in answer.json["items"]]  # type: ignore[attr-defined]

    assert keys(await running.call("GET", "/views/searched?colour=blue&order=-count")) == ["two three", "three"]
    assert keys(await running.call("GET", "/views/searched?q=th*&count.from=6")) == ["two three"]
    assert keys(await running.call("GET", "/views/searched?q=&order=key")) == ["one two", "three", "two three"]
    [item] = (await running.call("GET", "/views/searched?tally_id=three")).json["items"]
    assert item["_score"] is None and item["_highlights"] == {}
    row = await running.call("GET", "/views/searched/three")
    assert row.json == {"tally_id": "three", "text": "Tally three <blue>", "colour": "blue", "count": 5} and row.headers["ETag"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("facets=count", "no facet 'count'; declared: colour"),
        ("highlight=perhaps", "highlight is true or false"),
        ("size=1", "beside them: q, facets, highlight, order, limit, cursor"),
        ("q=a&q=b", "more than once"),
        ("q=" + "a" * 10_000, "longer than"),
        ("q=%00", "cannot be stored"),
        ("q=two&order=text", "no order 'text'"),
        ("q=two&cursor=AAAA", "not a cursor"),
        ("q=" + "%20".join(map(str, range(40))), "more than 32 words"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_what_can(running: Rig, asked: str, said: str) -> None:
    problem = is_problem(await running.call("GET", f"/views/searched?{asked}"), 400, "malformed")
    assert said in problem["detail"]


@pytest.mark.parametrize(
    "q", ['"', "'", "*", "two OR", "(two", "two)", 'two" OR "x', "text:two", "NEAR(two)", "^two", "\\", "-two", "é\u0301"]
)
async def test_no_question_is_an_error(running: Rig, q: str) -> None:
    answer = await running.call("GET", f"/views/searched?q={quote(q)}&facets=colour&highlight=true")
    assert answer.status == 200 and answer.json["total"] in (0, 2)


async def test_a_search_can_be_followed(running: Rig) -> None:
    """The same answer, again whenever it changes."""
    async with following(running, "/views/searched?q=new&facets=colour") as heard:
        assert (await heard.next())[2]["total"] == 0
        await running.count("new", colour="red")
        shown = (await heard.next())[2]
        assert shown["total"] == 1 and shown["facets"] == {"colour": {"red": 1}}
