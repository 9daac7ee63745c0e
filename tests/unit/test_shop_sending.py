"""How a replay sends, over HTTP, to a gateway that says what the test has written down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from twofold.client import Gateway
from twofold.kernel.errors import Misconfigured
from twofold.shop.online_retail.invoices import KeyedCommand
from twofold.shop.online_retail.sending import Failure, replay
from twofold.shop.stock import AdjustStock

Script = list[tuple[str, int, Any]]
"""What is answered, in order, to each method: status and body."""


@contextmanager
def gateway(script: Script) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """Its URL, and what it was asked: method and path, and the keys of the commands that came."""
    asked: list[tuple[str, list[str]]] = []

    class Scripted(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            items = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"[]")
            asked.append((f"{self.command} {self.path}", [item["idempotency_key"] for item in items]))
            at = next(number for number, (method, _, _) in enumerate(script) if method == self.command)
            _, status, body = script.pop(at)
            content = json.dumps(body).encode() if body is not None else b"<html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/", asked
    finally:
        server.shutdown()
        server.server_close()


def commands(*keys: str) -> list[KeyedCommand]:
    when = datetime(2010, 12, 1, 8, tzinfo=UTC)
    return [KeyedCommand(key, key, AdjustStock(sku=key, quantity=1, reason="found", adjusted_at=when)) for key in keys]


def taken(accepted: Sequence[tuple[int, str]], refused: Sequence[tuple[int, Any]] = ()) -> Any:
    return {
        "accepted": [{"index": index, "command_id": command_id} for index, command_id in accepted],
        "refused": [{"index": index, "problem": problem} for index, problem in refused],
    }


def test_what_is_refused_for_now_is_sent_again_alone_and_what_fails_is_told() -> None:
    no = {"status": 422, "code": "malformed", "title": "no", "errors": [{"pointer": "/sku", "detail": "too long"}]}
    script: Script = [
        ("POST", 503, None),
        ("POST", 202, taken([(0, "id-a")], [(1, {"status": 503}), (2, no)])),
        ("POST", 202, taken([(0, "id-b")])),
        ("GET", 200, {"command_id": "id-a", "status": "pending"}),
        ("GET", 200, {"command_id": "id-a", "status": "succeeded"}),
        ("GET", 200, {"command_id": "id-b", "status": "rejected", "rejection": {"code": "out-of-stock", "details": {"left": 0}}}),
    ]
    decided: list[int] = []
    with gateway(script) as (url, asked):
        failures = replay(Gateway(url), commands("a", "b", "c"), None, decided.append)
    assert [keys for what, keys in asked if what == "POST /api/commands"] == [["a", "b", "c"], ["a", "b", "c"], ["b"]]
    assert [what for what, _ in asked if what.startswith("GET")] == [
        "GET /api/commands/id-a",
        "GET /api/commands/id-a",
        "GET /api/commands/id-b",
    ]
    assert failures == [
        Failure("c", "AdjustStock", "refused: malformed no /sku: too long"),
        Failure("b", "AdjustStock", "rejected: out-of-stock {'left': 0}"),
    ]
    assert sum(decided) == 3


@pytest.mark.parametrize(("status", "body"), [(200, None), (202, None), (404, None), (404, [])])
def test_what_is_no_such_gateway_is_said_in_one_line(status: int, body: Any) -> None:
    with gateway([("POST", status, body)]) as (url, _), pytest.raises(Misconfigured) as refused:
        replay(Gateway(url), commands("a"), None, lambda count: None)
    assert str(refused.value) == f"--url: POST /commands was answered {status}"


def test_a_rate_is_kept_to() -> None:
    ignored = {"command_id": "id-a", "status": "ignored"}
    script: Script = [*[("POST", 202, taken([(0, "id-a")]))] * 3, *[("GET", 200, ignored)] * 3]
    started = time.monotonic()
    with gateway(script) as (url, asked):
        assert replay(Gateway(url), commands("a", "b", "c"), 4.0, lambda count: None) == []
    assert [keys for what, keys in asked if what.startswith("POST")] == [["a"], ["b"], ["c"]]
    assert time.monotonic() - started >= 0.5
