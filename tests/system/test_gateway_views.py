"""The read side of the contract, over HTTP, on a whole embedded system."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.gateway_domain import KEYLESS, POISON
from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.client import Gateway
from twofold.kernel.ids import new_command_id
from twofold.watch import show_audit


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


@pytest.fixture
async def unseen(tmp_path: Path) -> AsyncIterator[Rig]:
    """Nobody folds: rows stay as they are until `project` is called."""
    async with rig(tmp_path, projecting=False) as made:
        yield made


async def test_a_row_says_how_fresh_it_is(running: Rig) -> None:
    token = (await running.count("a", 2)).json["command_id"]
    answer = await running.call("GET", "/views/tallies/a", Consistency_Token=token)
    assert answer.json == {"tally_id": "a", "count": 2, "colour": "blue"}
    assert (answer.headers["View-Position"], answer.headers["ETag"]) == ("1", '"1-1"')
    assert float(answer.headers["View-Lag"]) >= 0
    assert ("tallies", 200) in running.queries


async def test_a_row_that_did_not_change_is_304(running: Rig) -> None:
    token = (await running.count("a")).json["command_id"]
    await running.call("GET", "/views/tallies/a", Consistency_Token=token)
    for sent in ('"1-1"', '"7", W/"1-1"', "*"):
        answer = await running.call("GET", "/views/tallies/a", If_None_Match=sent)
        assert (answer.status, answer.json) == (304, b"")
        assert answer.headers["ETag"] == '"1-1"'
    for other in ('"1-2"', '"2-1"', '"1"'):
        answer = await running.call("GET", "/views/tallies/a", If_None_Match=other)
        assert answer.status == 200, "another row, or the same position in rows that were built anew"


async def test_a_cursor_is_taken_back_whatever_the_row_is_called(running: Rig) -> None:
    """The longest keys and order values there are, in characters that grow when they are written down."""
    letter = chr(0x20AC)
    for key in ("a", "b"):
        token = (await running.count(key + letter * 200, colour='"' + letter * 300)).json["command_id"]
    first = await running.call("GET", "/views/tallies?limit=1&order=colour", Consistency_Token=token)
    second = await running.call("GET", f"/views/tallies?limit=1&order=colour&cursor={first.json['next']}")
    assert [row["tally_id"][0] for row in first.json["items"] + second.json["items"]] == ["a", "b"]


async def test_the_token_works_while_the_command_is_still_in_its_lane(tmp_path: Path) -> None:
    """Nothing has been decided yet, and the answer already waits for it."""
    async with rig(tmp_path, working=False) as idle:
        token = (await idle.count("a", 5)).json["command_id"]
        asked = asyncio.create_task(idle.call("GET", "/views/tallies/a", Consistency_Token=token, Prefer="wait=10"))
        await asyncio.sleep(0.3)
        assert not asked.done()
        idle.parts.work()
        answer = await asked
        assert (answer.status, answer.json["count"]) == (200, 5)
        assert answer.headers["Preference-Applied"] == "wait=10"


async def test_a_view_that_does_not_get_there_in_time_says_so(unseen: Rig) -> None:
    token = (await unseen.count("a", Prefer="wait=5")).json["command_id"]
    for sent in (token, "1"):
        answer = await unseen.call("GET", "/views/tallies/a", Consistency_Token=sent, Prefer="wait=0.2")
        problem = is_problem(answer, 503, "view-behind")
        assert {name: problem[name] for name in ("view", "required", "position", "state")} == {
            "view": "tallies",
            "required": 1,
            "position": 0,
            "state": "behind",
        }
        assert answer.headers["Retry-After"] == "1"
    page = await unseen.call("GET", "/views/tallies?colour=blue", Consistency_Token=token, Prefer="wait=0.2")
    is_problem(page, 503, "view-behind")
    assert {("tallies", 503)} == set(unseen.queries)
    assert unseen.refusals == [("rows", "view behind")] * 3


async def test_a_stale_answer_is_given_to_whoever_prefers_one(unseen: Rig) -> None:
    unseen.parts.project()
    seen = (await unseen.count("a", 1)).json["command_id"]
    await unseen.call("GET", "/views/tallies/a", Consistency_Token=seen, Prefer="wait=10")
    unseen.parts.projector.hold(())
    token = (await unseen.count("a", 1, Prefer="wait=5")).json["command_id"]
    asked = {"Consistency_Token": token, "Prefer": "wait=0.2, handling=lenient"}
    answer = await unseen.call("GET", "/views/tallies/a", **asked)
    assert (answer.status, answer.json["count"]) == (200, 1)
    assert answer.headers["Preference-Applied"] == "wait=0.2, handling=lenient"
    page = await unseen.call("GET", "/views/tallies", **asked)
    assert [item["count"] for item in page.json["items"]] == [1]


async def test_the_token_of_a_command_nobody_ever_sent_waits_and_then_says_pending(running: Rig) -> None:
    answer = await running.call("GET", "/views/tallies/a", Consistency_Token=new_command_id(), Prefer="wait=0.2")
    problem = is_problem(answer, 503, "view-behind")
    assert (problem["required"], problem["state"]) == (None, "pending")
    assert running.refusals == [("rows", "command undecided")]


async def test_the_token_of_a_refused_command_is_as_good_as_any(running: Rig) -> None:
    """What it saw is what has been shown; it added nothing."""
    await running.count("a", 1)
    refused = await running.count("a", 1_001, Prefer="wait=5")
    answer = await running.call("GET", "/views/tallies/a", Consistency_Token=refused.json["command_id"])
    assert (answer.status, answer.json["count"]) == (200, 1)


async def test_an_absent_row_is_404_also_for_whoever_waited_for_it_to_go(running: Rig) -> None:
    is_problem(await running.call("GET", "/views/tallies/a"), 404, "no-such-row")
    await running.count("a", 1)
    token = (await running.count("a", 1, colour="gone")).json["command_id"]
    answer = await running.call("GET", "/views/tallies/a", Consistency_Token=token)
    is_problem(answer, 404, "no-such-row")
    assert answer.headers["View-Position"] == "2"


async def test_nobody_ever_reads_from_before_their_own_write(running: Rig) -> None:
    """Many writers and readers at once, each of whom must find at least what it wrote."""
    random.seed(11)
    written: dict[str, int] = {}

    async def pair(tally_id: str) -> None:
        for _ in range(25):
            by = random.randint(1, 3)
            written[tally_id] = written.get(tally_id, 0) + by
            expected = written[tally_id]
            token = (await running.count(tally_id, by)).json["command_id"]
            answer = await running.call("GET", f"/views/tallies/{tally_id}", Consistency_Token=token, Prefer="wait=20")
            assert (answer.status, answer.json["count"]) == (200, expected)

    await asyncio.gather(*(pair(f"t{number}") for number in range(16)))


async def test_keys_of_any_text_are_found_again(running: Rig) -> None:
    for key, path in (
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("BANK CHARGES", "BANK%20CHARGES"),
        ("ü💡", "ü💡"),
        ("a+b?c#d", "a+b%3Fc%23d"),
    ):
        token = (await running.count(key)).json["command_id"]
        answer = await running.call("GET", f"/views/tallies/{path}", Consistency_Token=token, Prefer="wait=5")
        assert (answer.status, answer.json["tally_id"]) == (200, key)
        assert (await running.call("GET", f"/streams/tally-{path}")).json["stream"] == f"tally-{key}"


async def test_pages_are_filtered_ordered_and_linked(running: Rig) -> None:
    for number in range(7):
        answer = await running.count(f"t{number}", number + 1, "red" if number % 2 else "blue")
    token = answer.json["command_id"]
    first = await running.call("GET", "/views/tallies?colour=blue&order=-count&limit=3", Consistency_Token=token)
    assert [item["count"] for item in first.json["items"]] == [7, 5, 3]
    assert first.headers["Link"].endswith('>; rel="next"')
    following = first.headers["Link"][1:].partition(">")[0]
    second = await running.call("GET", following)
    assert ([item["count"] for item in second.json["items"]], second.json["next"]) == ([1], None)
    assert "Link" not in second.headers
    assert float(second.headers["View-Lag"]) >= 0 and int(second.headers["View-Position"]) >= 7
    everything = await running.call("GET", "/views/tallies")
    assert [item["tally_id"] for item in everything.json["items"]] == [f"t{number}" for number in range(7)]
    one = await running.call("GET", "/views/tallies?tally_id=t3")
    assert [item["count"] for item in one.json["items"]] == [4]


async def test_indexes_and_ranges_are_asked_for_together(running: Rig) -> None:
    """Half open; in the order of the range, unless another is asked for; and the link to the next page asks the same."""
    for number in range(9):
        answer = await running.count(f"t{number}", number + 1, "red" if number % 2 else "blue")
    asked = "/views/tallies?colour=blue&count.from=3&count.to=9&limit=2"
    first = await running.call("GET", asked, Consistency_Token=answer.json["command_id"])
    assert [item["count"] for item in first.json["items"]] == [3, 5]
    second = await running.call("GET", first.headers["Link"][1:].partition(">")[0])
    assert ([item["count"] for item in second.json["items"]], second.json["next"]) == ([7], None)
    turned = await running.call("GET", asked + "&order=-count")
    assert [item["count"] for item in turned.json["items"]] == [7, 5]
    both = await running.call("GET", "/views/tallies?colour=blue&tally_id=t2")
    assert [item["count"] for item in both.json["items"]] == [3]
    assert (await running.call("GET", "/views/tallies?colour=red&tally_id=t2")).json["items"] == []
    keys = await running.call("GET", "/views/tallies?tally_id.from=t7")
    assert [item["tally_id"] for item in keys.json["items"]] == ["t7", "t8"]
    assert (await running.call("GET", "/views/tallies?count.from=4&count.to=4")).json["items"] == []
    is_problem(await running.call("GET", f"/views/tallies?cursor={first.json['next']}"), 400, "malformed")


async def test_a_range_that_nothing_serves_names_what_is_declared(running: Rig) -> None:
    problem = is_problem(await running.call("GET", "/views/tallies?count.from=1&order=colour"), 400, "malformed")
    assert "compound (…, colour, count); declared: none" in problem["detail"]
    problem = is_problem(await running.call("GET", "/views/tallies?size.from=1"), 400, "malformed")
    assert "ranges, each with .from and .to: count, colour, tally_id" in problem["detail"]
    problem = is_problem(await running.call("GET", "/views/tallies?count.from=3&count.to=2"), 400, "malformed")
    assert problem["errors"] == [{"pointer": "/count.to", "detail": "count.to lies before count.from"}]


async def test_a_question_that_was_not_declared_is_400_and_names_those_that_are(running: Rig) -> None:
    problem = is_problem(await running.call("GET", "/views/tallies?size=3"), 400, "malformed")
    assert "colour" in problem["detail"] and "'size'" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/size"
    problem = is_problem(await running.call("GET", "/views/tallies?colour=red&count=3"), 400, "malformed")
    assert problem["errors"][0]["pointer"] == "/count"
    assert problem["detail"].startswith("count is an order: ask for count.from and count.to;"), problem
    problem = is_problem(await running.call("GET", "/views/tallies?nothing.from=3"), 400, "malformed")
    assert "'nothing.from'" in problem["detail"] and problem["errors"][0]["pointer"] == "/nothing.from"
    problem = is_problem(await running.call("GET", "/views/tallies/a?nothing=3"), 400, "malformed")
    assert problem["errors"][0]["pointer"] == "/nothing"
    problem = is_problem(await running.call("GET", f"/views/tallies?{'x' * 3_000}=1"), 400, "malformed")
    assert len(problem["detail"]) < 500
    for query in ("%ff=1", "%ed%a0%80=1", "a%00=1", "%2F~=1"):
        is_problem(await running.call("GET", f"/views/tallies?{query}"), 400, "malformed")
    for query in (
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "order=size",
        "order=",
        "cursor=nonsense",
        "colour.from=a&colour=b",
        "count.from=3&count.to=2",
        "count.from=x",
        "count.from=1&count.from=2",
        "count.from=1&order=colour",
        "count.from=1&colour.from=a",
        "size.from=1",
        "count.from=",
        "colour=blue&colour=red",
        "colour=%00",
        "%00=1",
    ):
        is_problem(await running.call("GET", f"/views/tallies?{query}"), 400, "malformed")
    for token in ("nonsense", "-1", "99999999999999999999"):
        is_problem(await running.call("GET", "/views/tallies/a", Consistency_Token=token), 400, "malformed")
    is_problem(await running.call("GET", "/views/nope/a"), 404, "unknown-view")
    is_problem(await running.call("GET", "/views/nope"), 404, "unknown-view")


async def test_every_view_says_what_may_be_asked_and_how_far_it_is(running: Rig) -> None:
    token = (await running.count("a")).json["command_id"]
    await running.call("GET", "/views/tallies?colour=blue", Consistency_Token=token, Prefer="wait=5")
    await asyncio.sleep(0.6)
    (view,) = (await running.call("GET", "/views")).json["views"]
    assert (view["name"], view["key"], view["indexes"], view["orders"]) == ("tallies", "tally_id", ["colour"], ["count"])
    assert (view["store"], view["sync"], view["slices"], view["position"], view["state"]) == ("sql", "async", 2, 1, "live")
    lag = (await running.call("GET", "/lag")).json
    assert lag == {"head": 1, "views": {"tallies": {"position": 1, "lag_events": 0, "lag_seconds": 0.0, "state": "live"}}}


async def test_lag_is_honest_about_a_view_that_never_started(unseen: Rig) -> None:
    await unseen.count("a", Prefer="wait=5")
    await asyncio.sleep(1.2)
    tallies = (await unseen.call("GET", "/lag")).json["views"]["tallies"]
    assert (tallies["position"], tallies["lag_events"], tallies["state"]) == (0, 1, "behind")
    assert 1.0 < tallies["lag_seconds"] < 20


async def test_a_poisoned_key_is_parked_and_its_reader_is_told(running: Rig) -> None:
    await running.count("a", 1)
    token = (await running.count("a", POISON)).json["command_id"]
    other = (await running.count("b", 1)).json["command_id"]
    assert (await running.call("GET", "/views/tallies/b", Consistency_Token=other, Prefer="wait=5")).status == 200
    for _ in range(50):
        parked = (await running.call("GET", "/parked")).json["keys"]
        if parked:
            break
        await asyncio.sleep(0.1)
    (key,) = parked
    assert (key["ref"], key["view"], key["key"], key["waiting"]) == ("key-tallies-a", "tallies", "a", 1)
    await asyncio.sleep(0.6)
    problem = is_problem(
        await running.call("GET", "/views/tallies/a", Consistency_Token=token, Prefer="wait=1"), 503, "view-behind"
    )
    assert problem["state"] == "parked"
    assert ("rows", "row parked") in running.refusals
    shown = await running.call("GET", "/parked/key-tallies-a")
    assert shown.json["waiting_positions"] == [2] and "a view with a bug" in shown.json["error"]
    assert (await running.call("POST", "/parked/key-tallies-a/discard")).status == 202
    later = (await running.count("a", 1)).json["command_id"]
    for _ in range(50):
        answer = await running.call("GET", "/views/tallies/a", Consistency_Token=later, Prefer="wait=1")
        if answer.status == 200:
            break
    assert answer.json["count"] == 2, "the poison was skipped, the rest was folded"
    is_problem(await running.call("POST", "/parked/key-tallies-a/retry"), 404, "not-parked")
    is_problem(await running.call("POST", "/parked/key-nope-a/retry"), 404, "not-parked")
    is_problem(await running.call("POST", "/parked/nonsense/retry"), 404, "not-parked")


async def test_a_token_is_never_answered_from_before_it_while_its_event_is_parked(running: Rig) -> None:
    """Not even in the moment after it was parked, when nobody has looked yet."""
    tokens = {}
    for number in range(20):
        shown = (await running.count(f"t{number}", 1)).json["command_id"]
        await running.call("GET", f"/views/tallies/t{number}", Consistency_Token=shown)
        tokens[f"t{number}"] = token = (await running.count(f"t{number}", POISON)).json["command_id"]
        answer = await running.call("GET", f"/views/tallies/t{number}", Consistency_Token=token, Prefer="wait=0.05")
        assert is_problem(answer, 503, "view-behind")["state"] in ("parked", "behind", "pending")
    for key, token in tokens.items():
        answer = await running.call("GET", f"/views/tallies/{key}", Consistency_Token=token, Prefer="wait=2")
        assert is_problem(answer, 503, "view-behind")["state"] == "parked"
        page = await running.call("GET", "/views/tallies?colour=blue", Consistency_Token=token, Prefer="wait=0.1")
        assert is_problem(page, 503, "view-behind")["state"] == "parked"
    beside = (await running.count("well", 1)).json["command_id"]
    assert (await running.call("GET", "/views/tallies/well", Consistency_Token=beside)).status == 200
    assert (await running.call("GET", "/views/tallies?colour=blue")).status == 200, "without a token, what there is"


async def test_a_token_of_a_parked_stream_is_never_answered_stale(running: Rig) -> None:
    """Its later events wait too, whatever rows they touch; other streams of the slice are answered."""
    for name in [f"s{number}" for number in range(8)]:
        await running.count(name, 1)
    poisoned = (await running.count("s0", KEYLESS)).json["command_id"]
    later = (await running.count("s0", 3)).json["command_id"]
    for token in (poisoned, later):
        answer = await running.call("GET", "/views/tallies/s0", Consistency_Token=token, Prefer="wait=2")
        assert is_problem(answer, 503, "view-behind")["state"] == "parked"
    position = (await running.call("GET", f"/commands/{later}")).json["position"]
    answer = await running.call("GET", "/views/tallies/s0", Consistency_Token=str(position), Prefer="wait=0.1")
    assert is_problem(answer, 503, "view-behind")["state"] == "parked"
    for name in [f"s{number}" for number in range(1, 8)]:
        well = (await running.count(name, 1)).json["command_id"]
        answer = await running.call("GET", f"/views/tallies/{name}", Consistency_Token=well, Prefer="wait=5")
        assert (answer.status, answer.json["count"]) == (200, 2)


async def test_a_token_is_answered_once_its_line_is_drained(running: Rig) -> None:
    """Whoever waits at that moment is given the row after it, not the one before."""
    token = (await running.count("d", POISON)).json["command_id"]
    later = (await running.count("d", 4)).json["command_id"]
    answer = await running.call("GET", "/views/tallies/d", Consistency_Token=token, Prefer="wait=2")
    assert is_problem(answer, 503, "view-behind")["state"] == "parked"
    asked = asyncio.create_task(running.call("GET", "/views/tallies/d", Consistency_Token=later, Prefer="wait=10"))
    await asyncio.sleep(0.2)
    assert (await running.call("POST", "/parked/key-tallies-d/discard")).status == 202
    answer = await asked
    assert (answer.status, answer.json["count"]) == (200, 4)


async def test_an_audit_says_that_rows_are_what_their_events_make_of_them(running: Rig) -> None:
    """And the command line ends with 0 then."""
    for key in ("a", "b", "a"):
        await running.count(key, 3, Prefer="wait=5")
        await running.call(
            "GET", "/views/tallies?limit=1", Prefer="wait=5", Consistency_Token=str(running.parts.events.head()[0])
        )
    answer = await running.call("POST", "/views/tallies/audit?limit=1")
    assert (answer.status, answer.json) == (200, {"checked": 1, "differences": [], "open": 0, "next": "a", "parked": 0})
    answer = await running.call("POST", "/views/tallies/audit?after=a")
    assert answer.json == {"checked": 1, "differences": [], "open": 0, "next": None, "parked": 0}
    assert (await running.call("POST", "/views/nothing/audit")).status == 404
    assert (await running.call("POST", "/views/tallies/audit?limit=0")).status == 400
    token = (await running.count("b")).json["command_id"]
    await running.call("GET", "/views/tallies/b", Consistency_Token=token, Prefer="wait=5")
    client = Gateway(running.url)
    assert await asyncio.to_thread(show_audit, client, None) == 0


@pytest.mark.parametrize("path", ["/views/tallies/a", "/views/tallies"])
async def test_an_event_stream_begins_with_what_its_token_stands_for(tmp_path: Path, path: str) -> None:
    """Else its first event shows a client the world without what it has just done."""
    async with rig(tmp_path, projecting=False) as held_up:
        token = (await held_up.count("a", 7)).headers["Consistency-Token"]
        asked = {"Accept": "text/event-stream", "Consistency-Token": token, "Prefer": "wait=1"}
        behind = await asyncio.wait_for(held_up.call("GET", path, **asked), 20)
        assert is_problem(behind, 503, "view-behind")["state"] == "behind"
        waiting = asyncio.create_task(_first_data(held_up, path, asked | {"Prefer": "wait=30"}))
        await asyncio.sleep(0.3)
        held_up.parts.project()
        assert '"count":7' in await asyncio.wait_for(waiting, 20)


async def _first_data(running: Rig, path: str, headers: dict[str, str]) -> str:
    async with running.session.get(running.url + path, headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data:"):
                return line.decode()
    raise AssertionError("no event came")
