"""Connections, handed on byte by byte: each to the gateway that has the fewest, all its bytes to the same one.

    client ── End ──bytes──> End ── gateway        what comes in at one end goes out at the other
              End <──bytes── End                   who does not read slows the other down; who is cut cuts the other

Nothing of what flows is read, held back or tried again: streams, long polls, large bodies and kept connections are between the
client and its gateway, and host names are judged there. A gateway that cannot be reached is passed over, before anything is sent.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from functools import partial
from http import HTTPStatus
from typing import cast

import msgspec

from twofold.gateway.http.problem import MEDIA_TYPE, Problem
from twofold.gateway.http.threads import tell_bug
from twofold.gateway.proxy.gateways import Gateways

CONNECTIONS_MAX = 16_384
FILES_SPARED = 128
"""What is left of the files that the process may open, for all else; a connection takes two."""
CONNECT_SECONDS_MAX = 1.0
PATIENCE_SECONDS = 5.0
"""How long somebody is looked for who takes a connection; as long as it takes to start a gateway again, about."""
RETRY_SECONDS = 0.5
LINGER_SECONDS = 2.0
"""How long what a client still sends is taken when its gateway has said its last, so that the client gets to read it."""
HALF_OPEN_SECONDS_MAX = 60.0
"""How long a client that sends no more may wait for its answer: longer than the longest poll."""
STOP_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.05
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A peer that went away without a word is found after a minute."""


class End(asyncio.Protocol):
    """One end of a connection that is handed on; of itself, the one at the gateway."""

    transport: asyncio.Transport
    last_seconds_max = LINGER_SECONDS
    """How long the other may go on when nothing more comes in here."""

    def __init__(self) -> None:
        self.other: End | None = None
        self.has_ended = self.is_gone = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        end = transport.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            end.setsockopt(socket.IPPROTO_TCP, option, value)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Whether this end is kept for what has yet to go out."""
        self.has_ended = True
        if self.other is None or self.other.transport.is_closing():
            return False
        if self.other.has_ended:
            self.other.transport.close()
            return False
        self.other.transport.write_eof()
        self.close_after(self.last_seconds_max)
        return True

    def close_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.transport.abort)

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self.other is not None and not self.other.is_gone:
            if error is not None:
                self.other.transport.abort()
            else:
                self.other.transport.close()


class ClientEnd(End):
    """The end at the client. What it sends before somebody takes it is not read, or kept: no more than one read of it."""

    last_seconds_max = HALF_OPEN_SECONDS_MAX

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._early: list[bytes] | None = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.came(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None and self._early is not None:
            self._early.append(data)
            self.transport.pause_reading()
            return
        super().data_received(data)

    def eof_received(self) -> bool:
        if self.other is None and self._early is not None:
            self.has_ended = True
            return True
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._proxy.went(self)

    def join(self, gateway: End) -> None:
        """From now on what comes in at one goes out at the other."""
        early, self._early = self._early, None
        self.other, gateway.other = gateway, self
        for data in early or []:
            gateway.transport.write(data)
        if self.has_ended:
            self.eof_received()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def refuse(self, problem: Problem) -> None:
        """Answer in a gateway's place, and close."""
        body = msgspec.json.encode(problem.document())
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close", **problem.headers}
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        self._early = None
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        if self.has_ended:
            self.transport.close()
        else:
            self.transport.write_eof()
            self.transport.resume_reading()
            self.close_after(LINGER_SECONDS)


class GatewayEnd(End):
    """The end at a gateway, counted as long as it is there."""

    def __init__(self, gateways: Gateways, address: tuple[str, int]) -> None:
        super().__init__()
        self._gateways, self._address = gateways, address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gateways.take(self._address)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._gateways.give(self._address)


class Proxy:
    """Finds a gateway for everybody who comes. `client` makes the protocol of a listening socket."""

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways
        self._clients: set[ClientEnd] = set()
        self._looking: set[asyncio.Task[None]] = set()
        files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._connections_max = min(CONNECTIONS_MAX, (files_max - FILES_SPARED) // 2)

    def client(self) -> ClientEnd:
        return ClientEnd(self)

    def came(self, client: ClientEnd) -> None:
        is_full = len(self._clients) >= self._connections_max
        self._clients.add(client)
        if is_full:
            client.refuse(
                Problem("overloaded", f"{self._connections_max} connections are open; please try again", {"Retry-After": "1"})
            )
            return
        client.transport.pause_reading()
        looking = asyncio.create_task(self._hand_on(client))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)
        looking.add_done_callback(tell_bug)

    def went(self, client: ClientEnd) -> None:
        self._clients.discard(client)

    async def stop(self) -> None:
        """Let those who are there finish, for a while; then cut them off."""
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS_MAX
        while self._clients and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        for looking in self._looking:
            looking.cancel()
        for client in list(self._clients):
            client.transport.abort()

    async def _hand_on(self, client: ClientEnd) -> None:
        gateway = await self._gateway()
        if client.transport.is_closing():
            if gateway is not None:
                gateway.transport.abort()
        elif gateway is None:
            client.refuse(Problem("unavailable", "gateway: none can be reached; please try again", {"Retry-After": "1"}))
        else:
            client.join(gateway)

    async def _gateway(self) -> End | None:
        """The end of a new connection to the best gateway that takes it; None when nobody did for PATIENCE_SECONDS."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            for address in self._gateways.candidates():
                try:
                    async with asyncio.timeout(CONNECT_SECONDS_MAX):
                        _, end = await loop.create_connection(partial(GatewayEnd, self._gateways, address), *address)
                        return end
                except (OSError, TimeoutError):
                    self._gateways.missed(address)
            if loop.time() > deadline:
                return None
            await asyncio.sleep(RETRY_SECONDS)
