"""Whom the gateway lets ask: from which page, under which host name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import twofold.gateway.http.request
from tests.system.gateway_rig import Rig, is_problem, rig


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def test_no_order_is_taken_from_another_sites_page(running: Rig) -> None:
    """A browser sends from any page what a form can say: its own headers tell, and of the old ones the media type."""
    asked = 0
    for path, methods in (await running.call("GET", "/openapi.json")).json["paths"].items():
        for method in set(methods) & {"post", "put", "delete"}:
            named = re.sub(r"{[a-z_]+}", "x", path.replace("{view}", "tallies"))
            for foreign in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://elsewhere.example"}, {"Origin": "null"}):
                is_problem(await running.call(method.upper(), named, **foreign), 403, "cross-site")
            if method != "delete":
                for said in ("text/plain", "application/x-www-form-urlencoded", ""):
                    refused = await running.call(method.upper(), named, b"", Content_Type=said)
                    is_problem(refused, 415, "unsupported-media-type")
            asked += 1
    assert asked >= 10


@pytest.mark.parametrize("host", ["elsewhere.example", "elsewhere.example:8080", "127.0.0.1.elsewhere.example", "1.2.3.4.5", "["])
async def test_a_host_name_that_is_not_ours_is_refused_everywhere(running: Rig, host: str) -> None:
    """A page whose host name was bound to this address after it was loaded is one of this very site, to its browser."""
    for method, path in (("GET", "/events"), ("GET", "/console"), ("POST", "/commands/Count"), ("GET", "/nowhere")):
        is_problem(await running.call(method, path, Host=host), 421, "unknown-host")
    assert running.parts.events.head()[0] == 0


async def test_our_host_names_are_answered(tmp_path: Path) -> None:
    """Whatever nobody else can have bound to this address, and what the setting lists."""
    async with rig(tmp_path, allowed_hosts="shop.example, *.inner.example") as named:
        for host in (
            "localhost",
            "127.0.0.1:1",
            "[::1]:80",
            "gateway:8080",
            "a.localhost",
            "Shop.Example:443",
            "x.y.inner.example.",
        ):
            assert (await named.call("GET", "/livez", Host=host)).status == 200, host
        is_problem(await named.call("GET", "/livez", Host="inner.example"), 421, "unknown-host")
    async with rig(tmp_path / "any", allowed_hosts="*") as named:
        assert (await named.call("GET", "/livez", Host="elsewhere.example")).status == 200


async def test_many_who_send_half_of_a_large_body_take_a_bounded_room_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred of them took 1.45 GB."""
    monkeypatch.setattr(twofold.gateway.http.request, "BODIES_BYTES_MAX", 4_000_000)
    head = b"POST /commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\n\r\n["
    async with rig(tmp_path) as running:

        async def send_half() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(head + b" " * 2_000_000)
            return reader, writer

        async def answered(reader: asyncio.StreamReader) -> bytes:
            async with asyncio.timeout(10):
                return await reader.read()

        halves = [await send_half() for _ in range(6)]
        refused = [asyncio.create_task(answered(reader)) for reader, _ in halves]
        done, waiting = await asyncio.wait(refused, timeout=5)
        assert len(waiting) in (1, 2) and all(b" 429 " in task.result().splitlines()[0] for task in done)
        assert (await running.count("a", Prefer="wait=5")).json["status"] == "succeeded"
        for _, writer in halves:
            writer.close()
        await asyncio.wait(waiting)
        body = b"[" + b" " * 3_000_000 + b"]"
        async with asyncio.timeout(10):
            while (answer := await running.call("POST", "/commands", body)).status == 429:
                await asyncio.sleep(0.1)
        assert answer.status == 202, "what is given up makes room"


@pytest.mark.parametrize("asked", ["GET /lag", "POST /commands/Count", "GET /nowhere", "PATCH /lag"])
async def test_what_cannot_be_expected_is_a_problem_too(running: Rig, asked: str) -> None:
    method, path = asked.split()
    is_problem(await running.call(method, path, Expect="the-spanish-inquisition"), 417, "http")
    assert (await running.count("a", Expect="100-continue")).status == 202
