"""The write side of the contract, over HTTP, on a whole embedded system."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import twofold.gateway.http.request
from tests.system.gateway_domain import EXPLOSIVE
from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.kernel.ids import command_id_for, new_command_id


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Rig]:
    """Nobody decides: commands stay in their lanes."""
    async with rig(tmp_path, working=False) as made:
        yield made


async def test_a_command_is_answered_202_with_its_id_as_the_token(idle: Rig) -> None:
    answer = await idle.count("a", 2)
    assert answer.status == 202
    command_id = answer.json["command_id"]
    assert answer.json == {"command_id": command_id, "type": "Count", "stream": "tally-a", "status": "accepted"}
    assert uuid.UUID(command_id).version == 7
    assert answer.headers["Location"] == f"/commands/{command_id}"
    assert answer.headers["Consistency-Token"] == command_id
    status = await idle.call("GET", answer.headers["Location"])
    assert status.json["status"] == "pending"
    assert (status.json["type"], status.json["stream"]) == ("Count", "tally-a")
    assert status.json["accepted_at"]


async def test_whoever_waits_gets_the_outcome(running: Rig) -> None:
    await running.count("a", 2, Prefer="wait=5")
    answer = await running.count("a", 3, Prefer="wait=5")
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert answer.json["status"] == "succeeded"
    assert answer.json["version"] == 2
    assert answer.json["events"] == [{"position": answer.json["position"], "version": 2, "type": "Counted"}]
    assert answer.json["accepted_at"] <= answer.json["decided_at"]
    again = await running.call("GET", f"/commands/{answer.json['command_id']}")
    assert again.json == answer.json


async def test_a_command_that_changes_nothing_is_ignored_and_says_so(running: Rig) -> None:
    answer = await running.count("a", 0, Prefer="wait=5")
    assert (answer.status, answer.json["status"], answer.json["events"]) == (200, "ignored", [])


async def test_a_no_is_a_problem_for_whoever_waits_and_an_outcome_for_whoever_asks(running: Rig) -> None:
    answer = await running.count("a", 1_001, Prefer="wait=5")
    problem = is_problem(answer, 409, "rejected")
    assert (problem["code"], problem["details"]) == ("too-many", {"count": 0, "limit": 1_000})
    status = await running.call("GET", f"/commands/{problem['command_id']}")
    assert status.json["status"] == "rejected"
    assert status.json["rejection"] == {"code": "too-many", "details": {"count": 0, "limit": 1_000}}


async def test_waiting_too_short_a_time_is_an_acceptance(idle: Rig) -> None:
    answer = await idle.count("a", Prefer="wait=0.1")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=0.1")


async def test_asking_for_a_command_waits_for_it(idle: Rig) -> None:
    """The status of a command is as good a place to wait as the command itself."""
    answer = await idle.count("a")
    waiting = asyncio.create_task(idle.call("GET", answer.headers["Location"], Prefer="wait=10"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    idle.parts.work()
    assert (await waiting).json["status"] == "succeeded"


async def test_the_same_key_and_body_is_the_same_command_before_and_after_its_outcome(idle: Rig) -> None:
    first = await idle.count("a", 2, Idempotency_Key="k-1")
    again = await idle.call("POST", "/commands/Count", b' {"by":2,"colour":"blue","tally_id":"a"}', Idempotency_Key="k-1")
    assert first.json == again.json
    assert first.json["command_id"] == command_id_for("anonymous", "k-1")
    assert idle.parts.queue.put_count == 1, "known to be durable: not published twice"
    idle.parts.work()
    decided = await idle.count("a", 2, Idempotency_Key="k-1", Prefer="wait=5")
    assert (decided.status, decided.json["version"]) == (200, 1)
    assert (await idle.count("a", 2, Idempotency_Key="k-1")).status == 202
    assert idle.parts.events.head()[0] == 1
    assert idle.parts.queue.put_count == 1


async def test_the_same_key_at_the_same_instant_is_one_command(idle: Rig) -> None:
    answers = await asyncio.gather(*(idle.count("a", 2, Idempotency_Key="k-2") for _ in range(20)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["command_id"] for answer in answers}) == 1
    assert idle.parts.queue.put_count == 1


async def test_the_same_key_with_another_body_is_refused_before_and_after_the_outcome(running: Rig) -> None:
    first = await running.count("a", 2, Idempotency_Key="k-3", Prefer="wait=5")
    problem = is_problem(await running.count("a", 3, Idempotency_Key="k-3"), 422, "key-reused")
    assert problem["command_id"] == first.json["command_id"]
    running.parts.broker.hold(())
    await running.count("b", 2, Idempotency_Key="k-4")
    is_problem(await running.count("b", 3, Idempotency_Key="k-4"), 422, "key-reused")


async def test_a_key_survives_a_restart_of_the_gateway(tmp_path: Path) -> None:
    """The memory of a gateway is a convenience; the inbox is what knows."""
    async with rig(tmp_path) as before:
        await before.count("a", 2, Idempotency_Key="k", Prefer="wait=5")
    async with rig(tmp_path) as after:
        is_problem(await after.count("a", 3, Idempotency_Key="k"), 422, "key-reused")
        answer = await after.count("a", 2, Idempotency_Key="k", Prefer="wait=5")
        assert (answer.status, answer.json["version"]) == (200, 1)
        assert after.parts.queue.put_count == 0


async def test_an_expected_version_that_moved_is_412_before_it_is_queued(running: Rig) -> None:
    assert (await running.count("a", If_Match='"0"', Prefer="wait=5")).status == 200
    assert (await running.count("a", If_Match='"1"', Prefer="wait=5")).status == 200
    problem = is_problem(await running.count("a", If_Match='"1"'), 412, "stream-moved")
    assert problem["details"] == {"version": 2, "expected": 1}
    assert running.parts.queue.put_count == 2


async def test_an_expected_version_that_moves_on_the_way_is_412_for_whoever_waits(idle: Rig) -> None:
    """Two clients that saw the same version: the gateway cannot know who is first, the worker does."""
    first = asyncio.create_task(idle.count("a", If_Match='"0"', Prefer="wait=10"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(idle.count("a", If_Match='"0"', Prefer="wait=10"))
    await asyncio.sleep(0.1)
    idle.parts.work()
    assert (await first).status == 200
    problem = is_problem(await second, 412, "stream-moved")
    assert problem["details"] == {"version": 1, "expected": 0}
    assert problem["command_id"]


async def test_a_retry_with_its_key_is_not_refused_for_having_moved_the_stream_itself(running: Rig) -> None:
    for _ in range(2):
        answer = await running.count("a", If_Match='"0"', Idempotency_Key="k", Prefer="wait=5")
        assert (answer.status, answer.json["version"]) == (200, 1)


MALFORMED: list[tuple[bytes, str]] = [
    (b"", ""),
    (b"nonsense", ""),
    (b"[]", ""),
    (b'{"tally_id": "a", "by": "2"}', "/by"),
    (b'{"tally_id": "a", "by": NaN}', ""),
    (b'{"by": 1}', "/tally_id"),
    (b'{"tally_id": "a", "nope": 1}', "/nope"),
    (b'{"tally_id": "a\\u0000"}', ""),
    (b'{"tally_id": "\\ud800"}', ""),
    (b'{"tally_id": "\xff"}', ""),
    (b'{"tally_id": ' + b"[" * 40 + b"]" * 40 + b"}", "/tally_id"),
    (b'{"tally_id": "' + b"x" * 600 + b'"}', "/tally_id"),
    (b"[" * 100_000, ""),
]


async def test_a_malformed_body_is_refused_with_the_place_and_nothing_else_happens(running: Rig) -> None:
    for body, pointer in MALFORMED:
        problem = is_problem(await running.call("POST", "/commands/Count", body), 400, "malformed")
        assert problem["errors"][0]["pointer"] == pointer, body[:50]
    assert running.parts.queue.put_count == 0


async def test_a_command_of_processes_is_not_for_clients(running: Rig) -> None:
    """At either door; its neighbours are let in. No document says that it can be posted."""
    for data in ({"tally_id": "t"}, {"wrong": 1}):
        problem = is_problem(await running.call("POST", "/commands/Clear", data), 403, "internal-command")
        assert problem["detail"].startswith("Clear is not for clients")
    items = [{"type": "Clear", "data": {"tally_id": "t"}}, {"type": "Count", "data": {"tally_id": "t"}}]
    bulk = (await running.call("POST", "/commands", items)).json
    assert [(item["index"], item["problem"]["type"]) for item in bulk["refused"]] == [(0, "/problems/internal-command")]
    assert [item["index"] for item in bulk["accepted"]] == [1] and running.parts.queue.put_count == 1
    unknown = is_problem(await running.call("POST", "/commands/Nope", {}), 404, "unknown-command")
    assert unknown["detail"] == "those there are: Count"
    document = (await running.call("GET", "/openapi.json")).json
    assert "/commands/Count" in document["paths"] and "/commands/Clear" not in document["paths"]
    item = document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/json"]["schema"]["items"]
    assert item["properties"]["type"]["enum"] == ["Count"]
    envelope = (await running.call("GET", "/asyncapi.json")).json["components"]["schemas"]["Envelope"]
    assert envelope["properties"]["type"]["description"] == "Sent by processes alone: Clear."


async def test_what_is_not_known_or_not_allowed_says_so(running: Rig) -> None:
    is_problem(await running.call("POST", "/commands/Nope", {}), 404, "unknown-command")
    is_problem(await running.call("GET", "/nope"), 404, "not-found")
    is_problem(await running.call("GET", "/commands/nope"), 404, "no-such-command-id")
    is_problem(await running.call("GET", f"/commands/{uuid.uuid1()}"), 404, "no-such-command-id")
    assert (await running.call("GET", f"/commands/{new_command_id()}")).json["status"] == "pending"
    answer = await running.call("DELETE", "/commands/Count")
    is_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]


async def test_bodies_of_other_kinds_are_415(running: Rig) -> None:
    for headers in (
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Type": "application/x-ndjson"},
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "br"},
    ):
        body = gzip.compress(b"{}") if headers.get("Content_Encoding") == "gzip" else b"{}"
        is_problem(await running.call("POST", "/commands/Count", body, **headers), 415, "unsupported-media-type")
    assert (
        await running.call("POST", "/commands/Count", b'{"tally_id":"a"}', Content_Type="Application/JSON; charset=UTF-8")
    ).status == 202


async def test_large_bodies_are_413_declared_or_not(running: Rig) -> None:
    large = b'{"tally_id": "' + b"x" * 300_000 + b'"}'
    is_problem(await running.call("POST", "/commands/Count", large), 413, "too-large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 8_192

    async with running.session.post(
        f"{running.url}/commands/Count", data=chunks(), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413
    is_problem(await running.call("POST", "/commands", b"[" + b" " * 4_200_000 + b"]"), 413, "too-large")


async def test_headers_that_make_no_sense_are_400(running: Rig) -> None:
    for headers in (
        {"Prefer": "wait=soon"},
        {"If_Match": "*"},
        {"Idempotency_Key": "x" * 201},
        {"Idempotency_Key": ""},
        {"Correlation_Id": "x" * 201},
    ):
        is_problem(await running.call("POST", "/commands/Count", {"tally_id": "a"}, **headers), 400, "malformed")
    assert running.parts.queue.put_count == 0


async def test_a_gateway_that_cannot_accept_says_503_and_when_to_come_back(running: Rig) -> None:
    running.parts.queue.is_shut = True
    for path, body in (("/commands/Count", {"tally_id": "a"}), ("/commands", [])):
        answer = await running.call("POST", path, body)
        is_problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert running.refusals == [("broker", "not connected")] * 2


async def test_a_gateway_that_is_overloaded_says_so_and_counts_it_for_each_item(running: Rig) -> None:
    """Absence needs somebody to look, overload needs less traffic: whoever reads the answer or the metric must know which."""
    running.parts.queue.full_streams = {"tally-b"}
    answer = await running.count("b")
    is_problem(answer, 429, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    items = [{"type": "Count", "data": {"tally_id": name}} for name in "abcb"]
    bulk = (await running.call("POST", "/commands", items)).json
    assert [item["index"] for item in bulk["accepted"]] == [0, 2]
    assert [(item["index"], item["problem"]["type"]) for item in bulk["refused"]] == [
        (1, "/problems/overloaded"),
        (3, "/problems/overloaded"),
    ]
    assert running.refusals == [("lanes", "too many commands wait")] * 3
    assert (await running.call("GET", "/problems/overloaded")).json["status"] == 429


async def test_a_correlation_id_is_written_into_the_events(running: Rig) -> None:
    await running.count("a", Correlation_Id="order form 7", Prefer="wait=5")
    stream = await running.call("GET", "/streams/tally-a")
    assert stream.json["events"][0]["meta"]["correlation_id"] == "order form 7"


async def test_a_bug_in_a_decider_parks_that_command_and_a_retry_decides_it_anew(running: Rig) -> None:
    answers = await asyncio.gather(
        *(running.count(name, by, Prefer="wait=5") for name, by in (("a", 1), ("b", EXPLOSIVE), ("c", 1)))
    )
    assert [answer.json["status"] for answer in answers] == ["succeeded", "parked", "succeeded"]
    assert answers[1].json["reason"] == "bug"
    (parked,) = (await running.call("GET", "/parked")).json["commands"]
    assert (parked["type"], parked["stream"], parked["reason"]) == ("Count", "tally-b", "bug")
    assert "a decider with a bug" in (await running.call("GET", f"/parked/{parked['ref']}")).json["error"]
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://elsewhere.example"}):
        for what in ("retry", "discard"):
            refused = await running.call("POST", f"/parked/{parked['ref']}/{what}", **foreign)
            is_problem(refused, 403, "cross-site")
    own = {"Sec-Fetch-Site": "same-origin", "Origin": running.url}
    retried = await running.call("POST", f"/parked/{parked['ref']}/retry", **own)
    assert retried.status == 202
    again = await running.call("GET", retried.headers["Location"], Prefer="wait=5")
    assert again.json["status"] == "parked", "the bug is still there"
    (parked,) = (await running.call("GET", "/parked")).json["commands"]
    assert parked["envelope"]["attempt"] == 2
    assert (await running.call("POST", f"/parked/{parked['ref']}/discard")).status == 200
    is_problem(await running.call("GET", f"/parked/{parked['ref']}"), 404, "not-parked")
    assert (await running.call("GET", "/parked")).json == {"commands": [], "keys": []}


async def test_each_item_of_a_bulk_request_is_let_in_or_refused_by_itself(running: Rig) -> None:
    items = [
        {"type": "Count", "data": {"tally_id": "a", "by": 1}},
        {"type": "Nope", "data": {}},
        {"type": "Count", "data": {"tally_id": "a", "by": "x"}},
        {"type": "Count", "data": {"tally_id": "a", "by": 2}, "idempotency_key": "k"},
        {"type": "Count", "data": {"tally_id": "a", "by": 2}, "idempotency_key": "k"},
        {"type": "Count", "data": {"tally_id": "a", "by": 3}, "idempotency_key": "k"},
        {"type": "Count", "data": {"tally_id": "x" * 300_000}},
        {"type": "Count"},
        17,
    ]
    answer = await running.call("POST", "/commands", items)
    assert answer.status == 202
    assert [item["index"] for item in answer.json["accepted"]] == [0, 3, 4]
    assert answer.json["accepted"][1]["command_id"] == answer.json["accepted"][2]["command_id"]
    refused = [(item["index"], item["problem"]["status"]) for item in answer.json["refused"]]
    assert refused == [(1, 404), (2, 400), (5, 422), (6, 413), (7, 400), (8, 400)]
    assert answer.json["refused"][1]["problem"]["errors"] == [{"pointer": "/by", "detail": "Expected `int`, got `str`"}]
    await running.call("GET", f"/commands/{answer.json['accepted'][2]['command_id']}", Prefer="wait=5")
    assert running.parts.events.head()[0] == 2


async def test_bulk_takes_lines_too_and_a_bad_line_is_only_itself(running: Rig) -> None:
    lines = b'{"type":"Count","data":{"tally_id":"a"}}\r\n\nnonsense\n{"type":"Count","data":{"tally_id":"b"}}'
    answer = await running.call("POST", "/commands", lines, Content_Type="application/x-ndjson")
    assert [item["index"] for item in answer.json["accepted"]] == [0, 2]
    assert [(item["index"], item["problem"]["status"]) for item in answer.json["refused"]] == [(1, 400)]


async def test_bulk_is_bounded_and_keeps_the_order_of_a_stream(running: Rig) -> None:
    item = {"type": "Count", "data": {"tally_id": "a", "by": 1}}
    is_problem(await running.call("POST", "/commands", [item] * 1_001), 400, "malformed")
    is_problem(await running.call("POST", "/commands", {"type": "Count"}), 400, "malformed")
    assert (await running.call("POST", "/commands", [])).json == {"accepted": [], "refused": []}
    answer = await running.call("POST", "/commands", [item] * 1_000)
    ids = [item["command_id"] for item in answer.json["accepted"]]
    await running.call("GET", f"/commands/{ids[-1]}", Prefer="wait=10")
    events = running.parts.events.stream("tally-a")
    assert [event.meta.command_id for event in events] == ids


async def test_a_body_that_does_not_arrive_in_time_is_408(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that trickles must not hold a connection for ever."""
    monkeypatch.setattr(twofold.gateway.http.request, "BODY_SECONDS_MAX", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /commands/Count HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    assert b" 408 " in head and b"application/problem+json" in head


async def test_whoever_waits_for_an_answer_gets_it_although_the_gateway_is_stopping(tmp_path: Path) -> None:
    async with rig(tmp_path, working=False) as stopping:
        asked = asyncio.create_task(stopping.count("a", Prefer="wait=1"))
        await asyncio.sleep(0.2)
        assert not asked.done()
        # The session outlives the server: only the request that is under way is left.
        closing = asyncio.create_task(stopping.stop())
        assert (await asked).status == 202
        await closing
        with pytest.raises(aiohttp.ClientConnectionError):
            await stopping.count("b")


async def test_a_body_that_breaks_off_leaves_no_trace(running: Rig) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /commands/Count HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert running.parts.queue.put_count == 0
    assert json.loads(json.dumps((await running.call("GET", "/livez")).json)) == {"status": "ok"}
