"""The bench measures what it says: the same orders on every side, floors that can fail, a client that counts right."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

import bench.domain
from bench import orders
from bench.load import Closed, Load
from bench.paced import Paced
from bench.results import FLOORS, Floor, Row
from bench.wire import connect
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.shop.order import ORDER
from twofold.testing import given


def _answer(status: int, body: bytes, length: str = "Content-Length") -> bytes:
    return f"HTTP/1.1 {status} Said\r\n{length}: {len(body)}\r\n\r\n".encode() + body


ACCEPTED = _answer(202, b'{"command_id":"019a0000-0000-7000-8000-000000000001"}')
SEEN = _answer(200, b"{}", length="content-length")
BUSY = _answer(503, b"")
PARTLY = _answer(202, b'{"accepted":[],"refused":[{"index":0},{"index":1}]}')


def test_the_orders_of_the_bench_are_accepted_and_cost_what_is_checked_for() -> None:
    """Otherwise the check after each load would compare with a wrong number, or the load would measure refusals."""
    codec = Codec(domain_of(bench.domain))
    total = 0
    for number in range(50):
        placed = given(ORDER).when(codec.command("PlaceOrder", msgspec.json.encode(orders.place_order("x", number)))).events
        total += placed[0].total  # type: ignore[attr-defined]
        readdressed = given(ORDER, *placed).when(
            codec.command("UpdateShippingAddress", msgspec.json.encode(orders.update_address("x", number)))
        )
        assert len(readdressed.events) == 1
    assert total == orders.total_minor(50)


def test_a_floor_is_missed_by_a_ratio_below_it_and_says_nothing_without_its_rows() -> None:
    """A table that always says "met" would be worth nothing."""
    rows = {"ours": Row("ours", "", "", (39.0, 1.0, 400.0)), "theirs": Row("theirs", "", "", (4.0,))}
    floor = Floor("", "ours", "theirs", at_least=10)
    value = floor.value(rows)
    assert value == 9.75
    assert not floor.is_met(value)
    assert floor.is_met(10.0)
    assert Floor("", "ours", None, at_most=39.0).is_met(38.9)
    assert not Floor("", "ours", None, at_most=39.0).is_met(39.0)
    assert floor.value({"ours": rows["ours"]}) is None


def test_the_floors_of_the_project_are_there() -> None:
    """Ten times the peer, four times the library, once embedded, fifty milliseconds: they may be raised, not lost."""
    bounds = {(floor.row, floor.of): (floor.at_least, floor.at_most) for floor in FLOORS}
    assert bounds["served-single", "peer-single"] == (10, None)
    assert bounds["inprocess-postgres-64", "library-postgres-functions"] == (4, None)
    assert bounds["embedded-single", "library-sqlite"] == (1, None)
    assert bounds["visible-p99", None] == (None, 50)


async def _answering(answers: list[bytes], chunk: int) -> asyncio.Server:
    """A loopback server that answers each request with the next of these, `chunk` bytes at a time, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answers:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Content-Length" in head:
                await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
            answer = answers.pop(0)
            for at in range(0, len(answer), chunk):
                writer.write(answer[at : at + chunk])
                await writer.drain()

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    return await asyncio.start_server(until_closed, "127.0.0.1", 0)


async def _closed(answers: list[bytes], requests: int, chunk: int, kind: str) -> Load:
    async with await _answering(answers, chunk) as server:
        wires = await connect("127.0.0.1", server.sockets[0].getsockname()[1], 1)
        posts = orders.single_posts("x", 0, requests)
        load = await Closed(posts, "bulk" if kind == "bulk" else "single").over(wires, seconds_max=5)
        for wire in wires:
            wire.close()
        return load


@pytest.mark.parametrize("chunk", [1, 7, 1_000])
async def test_every_answer_is_counted_once_however_it_is_cut(chunk: int) -> None:
    """TCP cuts where it likes; a client that miscounts answers measures nonsense."""
    load = await _closed([ACCEPTED, ACCEPTED, ACCEPTED], 3, chunk, "single")
    assert (load.answers, load.error, len(load.latencies)) == ({202: 3}, "", 3)


async def test_an_overloaded_answer_is_asked_again_and_counted() -> None:
    """A 503 with Retry-After is part of the contract, not an accepted command."""
    load = await _closed([BUSY, ACCEPTED], 1, 1_000, "single")
    assert (load.answers, load.retried) == ({202: 1}, 1)


async def test_refused_items_of_a_bulk_are_counted() -> None:
    """Bulk answers 202 also when it refused items: those are not commands done."""
    load = await _closed([PARTLY], 1, 1_000, "bulk")
    assert load.refused == 2


async def test_a_server_that_goes_away_fails_the_load() -> None:
    """A load that ends early must not count as fast."""
    load = await _closed([ACCEPTED], 2, 1_000, "single")
    assert "requests open" in load.error


async def test_a_paced_load_follows_a_command_until_its_row_is_seen() -> None:
    """The moment the row's answer arrives is the visibility that is reported."""
    async with await _answering([ACCEPTED], 1_000) as posts, await _answering([SEEN], 1_000) as reads:
        wires = await connect("127.0.0.1", posts.sockets[0].getsockname()[1], 1)
        watchers = await connect("127.0.0.1", reads.sockets[0].getsockname()[1], 1)
        paced = Paced(Load(), "x", 7, list(orders.single_posts("x", 7, 1)), watchers)
        load = await paced.over(wires, rate=100.0, follow_every=1, seconds_max=5)
        for wire in wires + watchers:
            wire.close()
    assert list(load.seen_at) == [7]
    assert load.error == ""
