"""Both ends of a connection that the proxy hands on: each word of one, and what it does to the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.test_gateway_proxy import SECONDS_MAX, free_port, nobody
from twofold.gateway.proxy import connections, serving
from twofold.gateway.proxy.connections import ClientEnd, End, Proxy
from twofold.gateway.proxy.gateways import Gateways
from twofold.kernel.errors import Misconfigured


class FakeTransport:
    """What is done to a transport, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_shut = False
        self.options: set[tuple[int, int, int]] = set()

    def get_extra_info(self, name: str) -> FakeTransport:
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.add((level, option, value))

    def is_closing(self) -> bool:
        return self.is_shut

    def write(self, data: bytes) -> None:
        self.done.append(f"write {data.decode()}")

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.done.append(name)


class Quiet:
    """A proxy that nobody asks anything of."""

    def came(self, client: ClientEnd) -> None:
        pass

    went = came


def both() -> tuple[ClientEnd, Any, End, Any]:
    proxy: Any = Quiet()
    client, other = ClientEnd(proxy), End()
    ours, theirs = FakeTransport(), FakeTransport()
    for end, transport in ((client, ours), (other, theirs)):
        end.connection_made(transport)  # type: ignore[arg-type]
    return client, ours, other, theirs


async def test_what_comes_before_a_gateway_is_found_is_kept_in_order_and_goes_on_then() -> None:
    client, ours, other, theirs = both()
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in ours.options and len(ours.options) == 4
    client.data_received(b"a")
    client.data_received(b"b")
    assert ours.done == ["pause_reading", "pause_reading"]
    client.join(other)
    assert (theirs.done, ours.done[2:]) == (["write a", "write b"], ["resume_reading"])
    client.data_received(b"c")
    other.data_received(b"d")
    assert (theirs.done[2:], ours.done[3:]) == (["write c"], ["write d"])
    theirs.is_shut = True
    client.data_received(b"e")
    client.pause_writing()
    client.resume_writing()
    assert theirs.done[3:] == [] and client.eof_received() is False


async def test_who_does_not_read_slows_the_other_down() -> None:
    client, ours, other, theirs = both()
    client.join(other)
    ours.done.clear()
    client.pause_writing()
    client.resume_writing()
    other.pause_writing()
    other.resume_writing()
    assert (theirs.done, ours.done) == (["pause_reading", "resume_reading"], ["pause_reading", "resume_reading"])
    alone = End()
    alone.pause_writing()
    alone.resume_writing()
    alone.data_received(b"x")
    assert alone.eof_received() is False


async def test_an_end_is_handed_on_and_both_ends_close() -> None:
    client, ours, other, theirs = both()
    assert client.eof_received() is True, "nobody has been found yet"
    client.join(other)
    assert theirs.done == ["write_eof"] and client._timer is not None
    left = client._timer.when() - asyncio.get_running_loop().time()
    assert connections.HALF_OPEN_SECONDS_MAX - 1 < left <= connections.HALF_OPEN_SECONDS_MAX
    assert other.eof_received() is False and ours.done == ["close"]
    client.connection_lost(None)
    assert client._timer.cancelled() and theirs.done == ["write_eof", "close"]
    other.connection_lost(None)
    assert ours.done == ["close"], "it has gone"


async def test_a_cut_is_handed_on_as_one() -> None:
    client, ours, other, theirs = both()
    client.join(other)
    other.connection_lost(ConnectionResetError())
    assert ours.done == ["resume_reading", "abort"]


async def test_who_has_gone_meanwhile_keeps_nobody() -> None:
    client, ours, other, theirs = both()
    ours.is_shut = True
    client.join(other)
    assert ours.done == []
    proxy = Proxy(Gateways(nobody))
    for gateway_end in (other, None):

        async def found(gateway_end: Any = gateway_end) -> Any:
            return gateway_end

        proxy._gateway = found  # type: ignore[method-assign]
        await proxy._hand_on(client)
    assert (theirs.done, ours.done) == (["abort"], [])


def test_the_proxy_runs_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent its signal by the loop itself, once it listens."""
    import os
    import signal

    port = free_port()

    def stop() -> None:
        with socket.create_connection(("127.0.0.1", port), SECONDS_MAX):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    listening = serving.listen

    @asynccontextmanager
    async def then_stopped(*given: Any) -> AsyncIterator[int]:
        async with listening(*given) as found:
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().run_in_executor, None, stop)
            yield found

    monkeypatch.setattr(serving, "listen", then_stopped)
    monkeypatch.setattr(connections, "STOP_SECONDS_MAX", 0.1)
    serving.run("127.0.0.1:1", "127.0.0.1", port)
    with pytest.raises(Misconfigured):
        serving.run("no port", "127.0.0.1", port)
