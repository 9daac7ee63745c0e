"""What closing a client ends, and which connections it keeps."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.test_client_wire import ROW, SECONDS_MAX, http, kind, serve
from twofold.client import AsyncGateway, Gateway, Unavailable
from twofold.client import connections as blocking

__all__ = ["kind", "serve"]


def test_what_is_asked_of_a_closed_client_is_said_to_be(kind: Any, serve: Any) -> None:
    with kind(serve().url, patience_seconds=0.0) as gateway:
        gateway.close()
        gateway.close()
        asks: list[Callable[[], Any]] = [lambda: gateway.get("rows", "a"), lambda: next(gateway.events(0))]
        for ask in asks:
            with pytest.raises(Unavailable, match="the client was closed"):
                ask()


def test_closing_ends_what_is_under_way_in_other_threads(serve: Any) -> None:
    """A request, and a pause between two."""
    entered = threading.Event()

    def hang(connection: socket.socket, asked: bytes) -> None:
        entered.set()
        time.sleep(SECONDS_MAX)

    def later(connection: socket.socket, asked: bytes) -> None:
        connection.sendall(http(b"{}", "503 Service Unavailable", Retry_After="9"))
        entered.set()

    for play in (hang, later):
        entered.clear()
        gateway = Gateway(serve(play).url, patience_seconds=30.0)
        said: list[BaseException] = []

        def ask(gateway: Gateway = gateway, said: list[BaseException] = said) -> None:
            try:
                gateway.get("rows", "a")
            except Unavailable as lost:
                said.append(lost)

        asking = threading.Thread(target=ask)
        asking.start()
        assert entered.wait(SECONDS_MAX)
        time.sleep(0.02)
        gateway.close()
        asking.join(SECONDS_MAX)
        assert [str(error).count("the client was closed") for error in said] == [1]


async def test_closing_ends_what_is_awaited(serve: Any) -> None:
    entered = threading.Event()

    def hang(connection: socket.socket, asked: bytes) -> None:
        entered.set()
        time.sleep(1.0)

    def later(connection: socket.socket, asked: bytes) -> None:
        connection.sendall(http(b"{}", "503 Service Unavailable", Retry_After="9"))
        entered.set()

    for play in (hang, later):
        entered.clear()
        async with AsyncGateway(serve(play).url, patience_seconds=30.0) as gateway:
            asking = asyncio.create_task(gateway.get("rows", "a"))
            assert await asyncio.to_thread(entered.wait, SECONDS_MAX)
            await asyncio.sleep(0.02)
            await gateway.close()
            async with asyncio.timeout(SECONDS_MAX):
                with pytest.raises(Unavailable, match="the client was closed"):
                    await asking


def test_a_connection_that_ended_meanwhile_is_not_used(kind: Any, serve: Any) -> None:
    """A request on it would fail, and could not be told from one that was lost on the way."""

    def once(connection: socket.socket, asked: bytes) -> bool:
        connection.sendall(http(ROW))
        return False

    server = serve(once, once, http(ROW))
    with kind(server.url, patience_seconds=0.0) as gateway:
        for _ in range(3):
            assert gateway.get("rows", "a").row == {"n": 1}
            time.sleep(0.05)
    assert [number for number, _ in server.asked] == [0, 1, 2]


def test_a_connection_that_was_idle_for_long_is_not_used(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(*[http(ROW)] * 4)
    with Gateway(server.url) as gateway:
        gateway.get("rows", "a")
        gateway.get("rows", "a")
        monkeypatch.setattr(blocking, "IDLE_SECONDS_MAX", -1.0)
        gateway.get("rows", "a")
        monkeypatch.setattr(blocking, "IDLE_SECONDS_MAX", 30.0)
        monkeypatch.setattr(blocking, "IDLE_MAX", 0)
        gateway.get("rows", "a")
        assert gateway._connections._idle == [] and gateway._connections._busy == set()
    assert [number for number, _ in server.asked] == [0, 0, 1, 1]


def test_an_answer_that_comes_too_slowly_is_given_up(serve: Any) -> None:
    """Each bit of it may come in time."""

    def drip(connection: socket.socket, asked: bytes) -> bool:
        answer = http(b" " * 1_000)
        connection.sendall(answer[:-1_000])
        for _ in range(20):
            connection.sendall(b" ")
            time.sleep(0.05)
        return False

    began = time.monotonic()
    with (
        Gateway(serve(drip).url, timeout_seconds=0.2, patience_seconds=0.0) as gateway,
        pytest.raises(Unavailable, match="too slowly"),
    ):
        gateway.get("rows", "a")
    assert time.monotonic() - began < 5.0
