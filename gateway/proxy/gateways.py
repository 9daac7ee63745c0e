"""Which gateways there are, and which of them can do their work. Looked at every second: who comes is found.

Knows no more of a gateway than its address and what it answers to /readyz.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import structlog

LOOK_SECONDS = 1.0
ASK_SECONDS_MAX = 2.0
GATEWAYS_MAX = 64
"""More addresses than this are not looked at."""
STATUS_LINE_BYTES_MAX = 256

Address = tuple[str, int]
Resolve = Callable[[], Awaitable[Iterable[Address]]]
"""The addresses of all gateways, now. Raises OSError when nobody knows."""

_READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def by_name(names: Iterable[Address]) -> Resolve:
    """Every address that these names have, asked anew each time; a name that has none now is left out."""

    async def resolve() -> list[Address]:
        loop, found = asyncio.get_running_loop(), list[Address]()
        for name, port in names:
            try:
                told = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            except socket.gaierror:
                continue
            found += [(str(address[0]), port) for *_, address in told]
        return found

    return resolve


class Gateways:
    """Whom to hand a connection to. `take` and `give` count the connections that each of them has."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._ready: dict[Address, bool] = {}
        self._open: Counter[Address] = Counter()
        self._turn: dict[Address, int] = {}
        self._taken = 0

    def candidates(self) -> list[Address]:
        """All, best first: those that are ready, of these who has the fewest connections, of these who has waited longest."""
        return sorted(self._ready, key=lambda one: (not self._ready[one], self._open[one], self._turn.get(one, 0)))

    def take(self, address: Address) -> None:
        self._taken += 1
        self._open[address] += 1
        self._turn[address] = self._taken

    def give(self, address: Address) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def missed(self, address: Address) -> None:
        """It could not be reached: the last to be tried until it is looked at again."""
        if address in self._ready:
            self._ready[address] = False

    async def look(self) -> None:
        """Nobody found is taken for a name that is not answered: those known stay."""
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                found = list(dict.fromkeys(await self._resolve()))[:GATEWAYS_MAX] or list(self._ready)
        except (OSError, TimeoutError):
            found = list(self._ready)
        answers = await asyncio.gather(*(is_ready(address) for address in found))
        before, self._ready = self._ready, dict(zip(found, answers, strict=True))
        self._turn = {address: turn for address, turn in self._turn.items() if address in self._ready}
        if self._ready != before:
            ready = [f"{host}:{port}" for (host, port), is_so in self._ready.items() if is_so]
            structlog.get_logger("proxy").info("gateways", ready=ready, other_count=len(found) - len(ready))

    async def look_on(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()


async def is_ready(address: Address) -> bool:
    writer = None
    try:
        async with asyncio.timeout(ASK_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(*address, limit=STATUS_LINE_BYTES_MAX)
            writer.write(_READY)
            return (await reader.readline()).split(b" ", 2)[1:2] == [b"200"]
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        if writer:
            writer.transport.abort()
