"""The client against a running system: each promise on the blocking one and on the awaited one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.guards.instance import Instance, running
from tests.system.clients import CLIENTS, SECONDS_MAX, client
from tests.system.gateway_domain import LIMIT, Count
from twofold import Rejected
from twofold.client import Gateway, PageAnswer, Refused, RowAnswer, StreamMoved, Unavailable, ViewBehind, connections

DOMAIN = "tests.system.gateway_live_domain"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running(tmp_path_factory.mktemp("system"), "--domain", DOMAIN) as instance:
        yield instance


@pytest.fixture(params=CLIENTS)
def gateway(request: pytest.FixtureRequest, system: Instance) -> Iterator[Gateway]:
    with client(request.param, f"http://127.0.0.1:{system.port}") as made:
        yield made


def head_of(gateway: Gateway) -> int:
    """Of the log itself: /lag may be half a second old."""
    return int(gateway.call("GET", "/events?limit=1")["head"])


def test_a_command_is_sent_and_its_row_is_read_by_its_token(gateway: Gateway, unique: str) -> None:
    sent = gateway.send("Count", {"tally_id": unique, "by": 2})
    assert (sent.status, sent.stream, sent.is_decided) == ("accepted", f"tally-{unique}", False)
    found = gateway.get("tallies", unique, after=sent.command_id, wait_seconds=10)
    assert found.row == {"tally_id": unique, "count": 2, "colour": "blue"}
    decided = gateway.wait(sent.command_id, 10)
    assert (decided.status, decided.version, decided.position) == ("succeeded", 1, found.position)
    assert decided.events is not None and decided.events[0].type == "Counted"
    assert gateway.outcome(sent.command_id) == decided
    waited = gateway.send(Count(unique, 3), wait_seconds=10)
    assert (waited.status, waited.version) == ("succeeded", 2)
    assert gateway.get("tallies", unique, after=waited.position or 0, wait_seconds=10).row == {
        "tally_id": unique,
        "count": 5,
        "colour": "blue",
    }
    assert gateway.get("tallies", f"{unique} / ?").row is None


def test_several_questions_are_answered_at_once_each_by_itself(gateway: Gateway, unique: str) -> None:
    """Asynchronous and live, by key and by index, all of them at or after one token; none fails its neighbours."""
    sent = gateway.send("Count", {"tally_id": unique, "by": 2, "colour": unique})
    questions: list[dict[str, Any]] = [
        {"view": "tallies", "key": unique},
        {"view": "tallies_now", "key": unique},
        {"view": "colours", "key": unique},
        {"view": "tallies", "where": {"colour": unique, "count": (1, None)}, "order": "count", "limit": 1},
        {"view": "tallies", "key": f"{unique} / ?"},
        {"view": "nonsense", "key": unique},
    ]
    row, now, colour, page, none, refused = gateway.queries(questions, after=sent.command_id, wait_seconds=10)
    tally = {"tally_id": unique, "count": 2, "colour": unique}
    assert isinstance(row, RowAnswer) and isinstance(now, RowAnswer) and (row.row, now.row) == (tally, tally)
    assert isinstance(colour, RowAnswer) and colour.row == {"colour": unique, "count": 2}
    assert isinstance(page, PageAnswer) and (page.items, page.next) == ([tally], None)
    assert row == gateway.get("tallies", unique) or row.position < head_of(gateway)
    assert isinstance(none, RowAnswer) and none.row is None and none.position >= row.position
    assert isinstance(refused, Refused) and (refused.kind, refused.status) == ("unknown-view", 404)
    late = gateway.queries(questions[:1], after=head_of(gateway) + 1_000, wait_seconds=0.2)
    assert isinstance(late[0], ViewBehind) and late[0].state == "behind"
    with pytest.raises(Refused, match="at most 20"):
        gateway.queries([questions[0]] * 21)


def test_the_same_key_is_the_same_command_and_the_domains_no_is_an_exception(gateway: Gateway, unique: str) -> None:
    first = gateway.send(Count(unique), idempotency_key=f"{unique} ключ")
    again = gateway.send(Count(unique), idempotency_key=f"{unique} ключ", wait_seconds=10)
    assert (again.command_id, again.version) == (first.command_id, 1)
    with pytest.raises(Refused) as reused:
        gateway.send(Count(unique, 2), idempotency_key=f"{unique} ключ")
    assert (reused.value.kind, reused.value.status) == ("key-reused", 422)
    with pytest.raises(Rejected) as declined:
        gateway.send(Count(unique, LIMIT + 1), wait_seconds=10)
    assert (declined.value.code, declined.value.details["limit"]) == ("too-many", LIMIT)
    with pytest.raises(StreamMoved):
        gateway.send(Count(unique), expected_version=0, wait_seconds=10)
    assert gateway.send(Count(unique), expected_version=1, wait_seconds=10).version == 2
    with pytest.raises(Refused) as malformed:
        gateway.send("Count", {"tally_id": 7})
    assert str(malformed.value).endswith("at /tally_id")
    assert gateway.send(Count(unique, 13), wait_seconds=10).status == "parked"


def test_a_bulk_of_any_size_is_answered_item_by_item_in_order(gateway: Gateway, unique: str) -> None:
    count, wrong = 2_500, 1_700
    items = ({"type": "Count", "data": {"tally_id": unique, "by": 0 if number != wrong else "x"}} for number in range(count))
    results = list(gateway.bulk(items))
    assert [one.index for one in results] == list(range(count))
    assert [one.index for one in results if one.refusal] == [wrong]
    assert len({one.command_id for one in results}) == count
    assert gateway.wait(results[-1].command_id or "", 30).status == "ignored"


def test_pages_are_followed_to_the_last_one(gateway: Gateway, unique: str) -> None:
    sent = [one.command_id for one in gateway.bulk(Count(f"{unique}-{n}", n + 20, unique) for n in range(25))]
    assert gateway.wait(sent[-1] or "", 10).is_decided
    last = max(gateway.wait(one or "", 10).position or 0 for one in sent)
    pages = list(gateway.pages("tallies", {"colour": unique}, limit=10, after=last, wait_seconds=10))
    assert [len(page.items) for page in pages] == [10, 10, 5]
    assert {row["count"] for page in pages for row in page.items} == set(range(20, 45))
    first = gateway.page("tallies", {"colour": unique}, limit=10)
    assert (first.items, first.next) == (pages[0].items, pages[0].next)
    assert gateway.page("tallies", order="-count", limit=1).items[0]["count"] >= 44
    with pytest.raises(Refused) as undeclared:
        gateway.page("tallies", {"weight": 1})
    assert undeclared.value.kind == "malformed"


def test_events_are_followed_as_they_are_written(gateway: Gateway, unique: str) -> None:
    head = head_of(gateway)
    gateway.send(Count(unique, 1), wait_seconds=10)
    timer = threading.Timer(0.5, lambda: gateway_send_again(gateway, unique))
    timer.start()
    events = gateway.events(after=head, types=["Counted"])
    found = list(islice((one for one in events if one.stream == f"tally-{unique}"), 2))
    events.close()
    timer.join()
    assert [one.data["by"] for one in found] == [1, 2]
    assert head < found[0].position < found[1].position


def gateway_send_again(gateway: Gateway, unique: str) -> None:
    gateway.send(Count(unique, 2))


def test_a_row_is_watched_from_what_its_token_stands_for_until_it_is_gone(gateway: Gateway, unique: str) -> None:
    sent = gateway.send(Count(unique, 1))
    rows = gateway.watch("tallies", unique, after=sent.command_id, wait_seconds=10)
    assert next(rows) == {"tally_id": unique, "count": 1, "colour": "blue"}
    gateway.send(Count(unique, 1, "gone"))
    assert next(rows) is None
    rows.close()


def test_a_token_that_is_not_reached_in_time_is_told_and_lenient_is_answered(gateway: Gateway, unique: str) -> None:
    beyond = head_of(gateway) + 1_000_000
    started = time.monotonic()
    with pytest.raises(ViewBehind) as late:
        gateway.get("tallies", unique, after=beyond, wait_seconds=0.5)
    assert (late.value.state, late.value.problem["required"]) == ("behind", beyond)
    assert 0.4 < time.monotonic() - started < 5
    assert gateway.get("tallies", unique, after=beyond, wait_seconds=0, lenient=True).row is None
    with pytest.raises(Refused) as unknown:
        gateway.get("no_such_view", unique)
    assert unknown.value.kind == "unknown-view"


def test_anything_else_is_asked_by_its_path(gateway: Gateway) -> None:
    assert gateway.call("GET", "/lag")["views"].keys() == {"tallies", "tallies_now", "colours"}
    assert gateway.call("POST", "/views/tallies/audit")["differences"] == []
    assert isinstance(gateway.call("GET", "/members"), list)
    with pytest.raises(Refused) as missing:
        gateway.call("POST", "/parked/command-999999/retry")
    assert missing.value.kind == "not-parked"


def test_one_client_serves_many_at_once(gateway: Gateway, unique: str) -> None:
    """Thirty threads, or tasks, over the few connections that are kept."""
    with ThreadPoolExecutor(30) as threads:
        sent = list(threads.map(lambda number: gateway.send(Count(f"{unique}{number % 3}")), range(120)))
    assert len({one.command_id for one in sent}) == 120
    versions = [gateway.wait(one.command_id, 10).version for one in sent]
    assert sorted(version or 0 for version in versions) == sorted([*range(1, 41)] * 3)


def test_what_is_under_way_ends_when_the_client_is_closed(system: Instance) -> None:
    """Ctrl-C in a program with threads: none of them must be waited for."""
    gateway = Gateway(f"http://127.0.0.1:{system.port}")
    nobody = Gateway("http://127.0.0.1:1")
    acts: list[Callable[[], Any]] = [
        lambda: gateway.wait("019a0000-0000-7000-8000-000000000000", 30),
        lambda: list(gateway.events(after=head_of(gateway))),
        lambda: nobody.call("GET", "/lag"),
    ]
    with ThreadPoolExecutor(len(acts)) as threads:
        asked = [threads.submit(act) for act in acts]
        time.sleep(1.0)
        started = time.monotonic()
        gateway.close()
        nobody.close()
        for one in asked:
            with pytest.raises(Unavailable, match="the client was closed"):
                one.result(SECONDS_MAX)
    assert time.monotonic() - started < 3
    with pytest.raises(Unavailable, match="the client was closed"):
        gateway.call("GET", "/lag")


@pytest.mark.parametrize("kind", CLIENTS)
def test_whoever_does_not_answer_is_told_in_time(kind: str) -> None:
    """Nobody there, somebody who says nothing, and somebody who says no HTTP."""
    with client(kind, "http://127.0.0.1:1", patience_seconds=0.3) as nobody:
        with pytest.raises(Unavailable, match=r"nobody listens \(http://127.0.0.1:1"):
            nobody.get("tallies", "a")
        with pytest.raises(Unavailable, match="nobody listens"):
            next(nobody.events())
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with client(kind, f"http://127.0.0.1:{port}", timeout_seconds=0.3, patience_seconds=0.3) as waiting:
            started = time.monotonic()
            with pytest.raises(Unavailable, match="no answer in time"):
                waiting.get("tallies", "a")
            assert time.monotonic() - started < 5

    def say_nonsense(server: socket.socket) -> None:
        connection, _address = server.accept()
        connection.recv(1_000)
        connection.sendall(b"hello\r\n\r\n")
        connection.close()

    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        talking = threading.Thread(target=say_nonsense, args=(other,), daemon=True)
        talking.start()
        confused = client(kind, f"http://127.0.0.1:{other.getsockname()[1]}", patience_seconds=0.0)
        with confused, pytest.raises(Unavailable, match="connection lost"):
            confused.get("tallies", "a")


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(system: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not to be asked twice would fail on it."""
    with Gateway(f"http://127.0.0.1:{system.port}", patience_seconds=0.0) as gateway:
        gateway.call("GET", "/lag")
        [(_, kept)] = gateway._connections._idle
        gateway.call("GET", "/lag")
        assert [one for _, one in gateway._connections._idle] == [kept]
        kept.sock.shutdown(socket.SHUT_RDWR)
        gateway.call("POST", "/views/tallies/audit")
        assert [one for _, one in gateway._connections._idle] != [kept]
        [(_, kept)] = gateway._connections._idle
        monkeypatch.setattr(connections, "IDLE_SECONDS_MAX", 0.0)
        gateway.call("POST", "/views/tallies/audit")
        assert [one for _, one in gateway._connections._idle] != [kept]


def test_a_path_may_stand_before_everything(tmp_path: Path) -> None:
    """Behind a proxy that serves more than this."""
    asked: list[bytes] = []

    def answer(server: socket.socket) -> None:
        for _ in CLIENTS:
            connection, _address = server.accept()
            asked.append(connection.recv(10_000).splitlines()[0])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            connection.close()

    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        threading.Thread(target=answer, args=(proxy,), daemon=True).start()
        for kind in CLIENTS:
            with client(kind, f"http://127.0.0.1:{proxy.getsockname()[1]}/shop/a%20b/") as prefixed:
                assert prefixed.get("tallies", "a/b ü").row == {}
    assert asked == [b"GET /shop/a%20b/views/tallies/a%2Fb%20%C3%BC HTTP/1.1"] * 2
