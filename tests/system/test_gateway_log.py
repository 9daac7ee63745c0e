"""The facts over HTTP: streams, states, the log, and all of it live; and what operators ask."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from yarl import URL

import twofold.gateway.http.event_streams
from tests.system import gateway_domain
from tests.system.gateway_rig import Rig, is_problem, rig
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Page
from twofold.kernel.members import Member, names_of


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


class Heard:
    """Server-sent events, read one at a time."""

    def __init__(self, response: Any) -> None:
        self.response = response

    async def next(self, seconds: float = 5) -> tuple[str, str, Any]:
        """(id, event, data); heartbeats and the first words are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(seconds):
            while True:
                line = (await self.response.content.readline()).decode()
                if not line:
                    raise EOFError
                if line == "\n":
                    if "data" in fields:
                        return fields["id"], fields["event"], json.loads(fields["data"])
                    fields = {}
                else:
                    name, _, value = line.rstrip("\n").partition(": ")
                    fields[name] = value


@asynccontextmanager
async def following(rig: Rig, path: str, last_event_id: str | None = None) -> AsyncIterator[Heard]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    async with rig.session.get(rig.url + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Heard(response)


async def test_a_stream_shows_its_facts_as_they_were_written(running: Rig) -> None:
    for by in (1, 2, 3):
        await running.count("a", by, Prefer="wait=5")
    page = await running.call("GET", "/streams/tally-a?from=2&limit=1")
    assert (page.json["stream"], page.json["version"]) == ("tally-a", 3)
    (event,) = page.json["events"]
    assert {name: event[name] for name in ("position", "version", "type", "data")} == {
        "position": 2,
        "version": 2,
        "type": "Counted",
        "data": {"tally_id": "a", "by": 2, "colour": "blue"},
    }
    assert event["meta"]["command_id"] and event["recorded_at"].endswith("Z")
    assert page.headers["ETag"] == '"3"'
    assert "from=3" in page.headers["Link"]
    assert (await running.call("GET", "/streams/tally-a?from=9")).json["events"] == []
    is_problem(await running.call("GET", "/streams/tally-b"), 404, "no-such-stream")


async def test_a_state_is_the_fold_as_of_a_version_or_a_time(running: Rig) -> None:
    for by in (1, 2, 3):
        await running.count("a", by, Prefer="wait=5")
        await asyncio.sleep(0.01)
    events = (await running.call("GET", "/streams/tally-a")).json["events"]
    path = "/streams/tally-a/state"
    assert (await running.call("GET", path)).json == {"stream": "tally-a", "version": 3, "state": 6}
    assert (await running.call("GET", f"{path}?version=2")).json == {"stream": "tally-a", "version": 2, "state": 3}
    assert (await running.call("GET", f"{path}?version=0")).json == {"stream": "tally-a", "version": 0, "state": 0}
    for moment in (events[1]["recorded_at"], quote(events[1]["recorded_at"].replace("Z", "+00:00"))):
        assert (await running.call("GET", f"{path}?at={moment}")).json["version"] == 2
    assert (await running.call("GET", f"{path}?at=2001-01-01T00:00:00Z")).json["version"] == 0
    is_problem(await running.call("GET", f"{path}?version=4"), 404, "no-such-stream")
    is_problem(await running.call("GET", "/streams/tally-b/state"), 404, "no-such-stream")
    is_problem(await running.call("GET", "/streams/nope-a/state"), 404, "no-such-stream")
    for query in (
        "version=x",
        "at=yesterday",
        "at=2026-01-01T00:00:00",
        "at=0001-01-01T00:00:00%2B14:00",
        "version=1&at=2026-01-01T00:00:00Z",
    ):
        is_problem(await running.call("GET", f"{path}?{query}"), 400, "malformed")


async def test_a_long_stream_is_folded_whole(running: Rig) -> None:
    """Longer than what is read at once."""
    items = [{"type": "Count", "data": {"tally_id": "a", "by": sign}} for sign in (1, -1) * 500]
    for _ in range(2):
        await running.call("POST", "/commands", items)
    last = await running.count("a", 7, Prefer="wait=10")
    assert last.json["version"] == 2_001
    assert (await running.call("GET", "/streams/tally-a/state")).json == {"stream": "tally-a", "version": 2_001, "state": 7}
    assert (await running.call("GET", "/streams/tally-a/state?version=1001")).json["state"] == 1


async def test_the_log_is_paged_by_position(running: Rig) -> None:
    for name in "abcde":
        await running.count(name, Prefer="wait=5")
    page = (await running.call("GET", "/events?after=1&limit=2")).json
    assert ([event["position"] for event in page["events"]], page["next"], page["head"]) == ([2, 3], 3, 5)
    end = await running.call("GET", f"/events?after={page['next']}&type=Counted")
    assert ([event["stream"] for event in end.json["events"]], "Link" in end.headers) == (["tally-d", "tally-e"], False)
    assert (await running.call("GET", "/events?after=99")).json == {"events": [], "next": 99, "head": 5}
    for query in ("after=-1", "after=99999999999999999999", "type=Nope", "limit=0", "nope=1"):
        is_problem(await running.call("GET", f"/events?{query}"), 400, "malformed")


async def test_the_log_can_be_followed_and_taken_up_again(running: Rig) -> None:
    await running.count("a", 1, Prefer="wait=5")
    async with following(running, "/events") as heard:
        assert (await heard.next())[:2] == ("1", "event")
        await running.count("a", 2)
        seen, _, event = await heard.next()
        assert (seen, event["data"]["by"]) == ("2", 2)
    await running.count("a", 3, Prefer="wait=5")
    async with following(running, "/events", last_event_id=seen) as heard:
        assert (await heard.next())[0] == "3"


async def test_a_row_can_be_followed_from_absence_to_absence(running: Rig) -> None:
    async with following(running, "/views/tallies/a") as heard:
        assert (await heard.next())[1] == "gone"
        await running.count("a", 1)
        assert (await heard.next())[2] == {"tally_id": "a", "count": 1, "colour": "blue"}
        await running.count("b", 1)
        await running.count("a", 2)
        seen, event, row = await heard.next()
        assert (event, row["count"]) == ("row", 3)
    async with following(running, "/views/tallies/a", last_event_id=seen) as heard:
        with pytest.raises(TimeoutError):
            await heard.next(0.5)
    await running.count("a", 1, Prefer="wait=5")
    async with following(running, "/views/tallies/a", last_event_id=seen) as heard:
        row = {}
        while row.get("count") != 4:
            row = (await heard.next())[2]
        await running.count("a", 1, colour="gone")
        assert (await heard.next())[1] == "gone"


async def test_a_page_can_be_followed(running: Rig) -> None:
    async with following(running, "/views/tallies?colour=red&order=-count") as heard:
        assert (await heard.next())[2] == {"items": [], "next": None}
        await running.count("a", 1, "red")
        _, event, page = await heard.next()
        assert (event, [item["tally_id"] for item in page["items"]]) == ("rows", ["a"])
        await running.count("b", 9, "blue")
        await running.count("b", 2, "red")
        seen, _, page = await heard.next()
        assert [item["tally_id"] for item in page["items"]] == ["b", "a"]
    async with following(running, "/views/tallies?colour=red&order=-count", last_event_id=seen) as heard:
        with pytest.raises(TimeoutError):
            await heard.next(0.5)
    async with following(running, "/views/tallies?colour=red&count.from=2&count.to=12") as heard:
        assert [item["tally_id"] for item in (await heard.next())[2]["items"]] == ["b"]
        await running.count("a", 3, "red")
        assert [item["tally_id"] for item in (await heard.next())[2]["items"]] == ["a", "b"]
        await running.count("b", 2, "red")
        assert [item["count"] for item in (await heard.next())[2]["items"]] == [4]
    is_problem(await running.call("GET", "/views/tallies?size=1", Accept="text/event-stream"), 400, "malformed")


async def _status(rig: Rig, path: str) -> int:
    async with rig.session.get(rig.url + path, headers={"Accept": "text/event-stream"}) as response:
        return response.status


def counted_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions behind which the log is asked for a page from now on."""
    pages: list[int] = []
    page = rig.parts.events.page

    def counted(after: int, limit: int, types: Collection[str] | None = None) -> Page:
        pages.append(after)
        return page(after, limit, types)

    monkeypatch.setattr(rig.parts.events, "page", counted)
    return pages


async def test_a_ring_from_beyond_the_head_is_read_after_once(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restore, or by mistake: a stream must not ask the log again and again for what is not there."""
    pages = counted_pages(running, monkeypatch)
    async with following(running, "/events") as heard:
        running.parts.bell.ring(1_000_000)
        await asyncio.sleep(0.6)
        assert len(pages) < 20
        await running.count("a", 1, "red")
        assert (await heard.next())[1] == "event"


async def test_those_who_follow_from_one_place_are_read_for_once(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        all_heard = [await stack.enter_async_context(following(running, "/events")) for _ in range(30)]
        await running.count("a", 1, "red", Prefer="wait=5")
        assert {(await heard.next())[0] for heard in all_heard} == {"1"}
        await asyncio.sleep(0.5)
        pages = counted_pages(running, monkeypatch)
        for by in (1, 2, 3):
            await running.count("a", by, "red", Prefer="wait=5")
        for position in ("2", "3", "4"):
            assert {(await heard.next())[0] for heard in all_heard} == {position}
    assert {1, 2, 3} & set(pages) and len(pages) < 30, "each place once for all of them, and the looks that find nothing"


async def test_who_does_not_read_is_found_out_before_megabytes_wait_for_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twofold.gateway.http.event_streams, "STREAMS_MAX", 1)
    monkeypatch.setattr(twofold.gateway.http.event_streams, "WRITE_SECONDS_MAX", 0.5)
    async with rig(tmp_path) as running:
        items = [{"type": "Count", "data": {"tally_id": "a", "by": 1}}] * 1_000
        await running.call("POST", "/commands", items, Prefer="wait=10")
        with socket.socket() as unread:
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await asyncio.to_thread(unread.connect, ("127.0.0.1", URL(running.url).port))
            unread.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            assert await asyncio.to_thread(unread.recv, 12) == b"HTTP/1.1 200"
            async with asyncio.timeout(10):
                while await _status(running, "/events") == 429:
                    await asyncio.sleep(0.1)


async def test_open_streams_are_bounded_beaten_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream nobody reads must not live for ever, and a stopping gateway must not wait for its readers."""
    monkeypatch.setattr(twofold.gateway.http.event_streams, "STREAMS_MAX", 2)
    monkeypatch.setattr(twofold.gateway.http.event_streams, "HEARTBEAT_SECONDS", 0.2)
    async with rig(tmp_path) as running:
        async with following(running, "/events") as first, following(running, "/events") as second:
            answer = await running.call("GET", "/events", Accept="text/event-stream")
            is_problem(answer, 429, "overloaded")
            lines = [await asyncio.wait_for(first.response.content.readline(), 5) for _ in range(4)]
            assert b": still here\n" in lines
            second.response.close()
            async with asyncio.timeout(10):
                while (status := await _status(running, "/events")) == 429:
                    await asyncio.sleep(0.2)
            assert status == 200, "who is gone makes room"
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 8


async def test_health_follows_the_neighbours(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await running.call("GET", "/readyz")).json == {"status": "ok"}
    running.parts.queue.is_shut = True
    is_problem(await running.call("GET", "/readyz"), 503, "unavailable")
    running.parts.queue.is_shut = False
    assert (await running.call("GET", "/readyz")).status == 200

    def away() -> tuple[int, None]:
        raise Unavailable(Neighbour.LOG)

    for name in ("head", "require_writable"):
        monkeypatch.setattr(running.parts.events, name, away, raising=False)
    await asyncio.sleep(1.1)
    problem = is_problem(await running.call("GET", "/readyz"), 503, "unavailable")
    assert problem["detail"].startswith("log: ")
    assert (await running.call("GET", "/livez")).json == {"status": "ok"}
    answer = await running.call("GET", "/lag")
    is_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_a_bug_in_the_gateway_is_a_500_without_inner_detail(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(stream: str) -> int:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(running.parts.events, "version", broken, raising=False)
    problem = is_problem(await running.call("GET", "/streams/tally-a"), 500, "bug")
    assert "secret" not in json.dumps(problem) and "Zero" not in json.dumps(problem)


async def test_who_goes_before_the_answer_is_no_bug(running: Rig) -> None:
    """Anybody could fill the log with it."""
    requests = (
        b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
        b"POST /commands/Count HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        b"POST /commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n[",
        b"PUT /lanes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    )
    with capture_logs() as logs:
        for request in requests * 20:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(request)
            if request is not requests[0]:
                await asyncio.sleep(0.01)
            writer.transport.abort() if request is requests[1] else writer.close()
        await asyncio.sleep(0.3)
        assert (await running.call("GET", "/livez")).status == 200
    assert [log for log in logs if log["log_level"] == "error"] == []


async def test_metrics_are_those_of_this_process(running: Rig) -> None:
    answer = await running.call("GET", "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert answer.json == b"twofold_log_head 1\n"


async def test_the_console_is_told_everything_it_draws(running: Rig) -> None:
    await running.count("a", Prefer="wait=5")
    await asyncio.sleep(0.6)
    data = (await running.call("GET", "/console/data")).json
    assert (data["head"], data["accepted"], data["decided"], data["lanes"]) == (1, 1, 1, {"0": 0, "1": 0})
    assert [event["position"] for event in data["recent"]] == [1]
    assert data["views"][0]["name"] == "tallies"


HOSTILE = [
    b"GET /views/tallies/%00 HTTP/1.1",
    b"GET /views/tallies/\xff\xfe HTTP/1.1",
    b"GET /views/tallies/%ED%A0%80 HTTP/1.1",
    b"GET /streams/%FF/state HTTP/1.1",
    b"GET /streams/tally-a%00 HTTP/1.1",
    b"GET /commands/%00 HTTP/1.1",
    b"GET /parked/key-tallies-%00 HTTP/1.1",
    b"GET /views/tallies?colour=%ff HTTP/1.1",
    b"GET /views/tallies?\xff=\xfe HTTP/1.1",
    b"GET /events?type=%ED%A0%80 HTTP/1.1",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
    b"GET /static/..%2fapp.py HTTP/1.1",
    b"POST /commands/%00 HTTP/1.1",
    b"GET /problems/%00 HTTP/1.1",
    b"BREW / HTTP/1.1",
    b"nonsense",
    b"GET /views/tallies/" + b"x" * 20_000 + b" HTTP/1.1",
    b"GET /events HTTP/9.9",
    b"GET /views/tallies/a HTTP/1.1\r\nConsistency-Token: \xff",
    b"GET /views/tallies/a HTTP/1.1\r\nPrefer: wait=\xe2\x82\xac",
    b"GET /events HTTP/1.1\r\nAccept: text/event-stream\r\nLast-Event-ID: \xb2\xb2",
]


async def test_bytes_that_no_store_can_hold_are_refused_and_never_a_bug(running: Rig) -> None:
    for line in HOSTILE:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(line + b"\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
        status = head.split()[1]
        assert status == b"200" or (status in (b"400", b"404", b"405") and b"application/problem+json" in head), line


async def test_a_gateway_is_not_ready_before_a_worker_knows_its_commands(running: Rig) -> None:
    """In a rolling deploy that is what keeps commands from coming in that nobody could decide; later a worker may be away."""
    running.leases.leave("workers", "w")
    problem = is_problem(await running.call("GET", "/readyz"), 503, "unavailable")
    assert "no worker is alive" in problem["detail"]
    running.leases.renew(Member("workers", "old", knows=frozenset({"Count", "Count.tally_id"})), [], 60.0)
    await asyncio.sleep(1.1)
    problem = is_problem(await running.call("GET", "/readyz"), 503, "unavailable")
    assert "no living worker knows every command" in problem["detail"]
    running.leases.renew(Member("workers", "new", knows=names_of(domain_of(gateway_domain).commands) | {"Later"}), [], 60.0)
    await asyncio.sleep(1.1)
    assert (await running.call("GET", "/readyz")).status == 200
    running.leases.leave("workers", "new")
    await asyncio.sleep(1.1)
    assert (await running.call("GET", "/readyz")).status == 200
