"""The proxy on a socket until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from twofold.gateway.http.server import BACKLOG, why_deaf
from twofold.gateway.http.threads import tell_bug
from twofold.gateway.proxy.connections import Proxy
from twofold.gateway.proxy.gateways import Address, Gateways, Resolve, by_name
from twofold.kernel.errors import Misconfigured


@asynccontextmanager
async def listen(resolve: Resolve, host: str, port: int) -> AsyncIterator[int]:
    """Hand connections on inside the block; the port (of use when 0 was asked for). Raises Misconfigured when the socket cannot
    be had."""
    gateways = Gateways(resolve)
    await gateways.look()
    proxy = Proxy(gateways)
    try:
        server = await asyncio.get_running_loop().create_server(proxy.client, host, port, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(why_deaf(host, port, error)) from error
    looking = asyncio.create_task(gateways.look_on())
    looking.add_done_callback(tell_bug)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await proxy.stop()
        looking.cancel()


def addresses(text: str) -> list[Address]:
    """`NAME:PORT`, several with commas between. Raises Misconfigured."""
    found = []
    for one in text.split(","):
        name, _, port = one.strip().rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise Misconfigured(f"{one.strip() or 'nothing'}: is no NAME:PORT of gateways; say for example gateway:8080")
        found.append((name.strip("[]"), int(port)))
    return found


def run(names: str, host: str, port: int) -> None:
    """Until SIGTERM or SIGINT. Raises Misconfigured."""
    behind = addresses(names)

    async def serve() -> None:
        is_stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, is_stopping.set)
        async with listen(by_name(behind), host, port):
            await is_stopping.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
