"""An application on a socket until told to stop: bounded lines, no compressed bodies, problems even for what is not HTTP."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from twofold.gateway.http.problem import Problem, answer_before_routes
from twofold.kernel.errors import Misconfigured

KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s for which proxies commonly keep their own connections."""
SHUTDOWN_SECONDS = 10.0
LAST_SECONDS = 1.0
"""How long clients that keep their connections are given to be told, with an answer, that it is the last."""
LOOK_SECONDS = 0.02
BACKLOG = 1_024
LINE_BYTES_MAX = 16 * 1024
"""Room for the longest key or parameter there may be, every character of it percent-encoded."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read, so that the client gets to read why it was refused."""

_CONNECTION: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": KEEP_ALIVE_SECONDS,
    "max_line_size": LINE_BYTES_MAX,
    "lingering_time": LINGER_SECONDS,
    "auto_decompress": False,
}


class Connection(web.RequestHandler):
    """One client's connection. Answers with a problem what cannot be read as a request, and logs none of its bytes."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp calls this for what never reaches the application (400), and for what fails outside of it (5xx). Raises
        ConnectionError when nobody is there to be answered."""
        if isinstance(exc, ConnectionError):
            raise ConnectionError("the client has gone") from exc
        if status >= 500:
            structlog.get_logger("gateway").error("bug", where="outside the application", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        problem = Problem("bug", "this is our fault") if status >= 500 else Problem("malformed", "this is not an HTTP request")
        response = problem.response()
        response.force_close()
        return response


@asynccontextmanager
async def listen(app: web.Application, host: str, port: int, reuse_port: bool = False) -> AsyncIterator[int]:
    """Serve inside the block; the port (of use when 0 was asked for). Ends open streams, lets running requests finish.
    Raises Misconfigured when the socket cannot be had."""
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        loop, server = asyncio.get_running_loop(), runner.server
        assert server is not None, "a runner that is set up has one"
        vars(server)["request_handler"] = partial(answer_before_routes, server.request_handler)  # aiohttp's name for it
        make = partial(Connection, server, loop=loop, **_CONNECTION)
        try:
            sockets = await loop.create_server(make, host, port, backlog=BACKLOG, reuse_port=reuse_port or None)
        except OSError as error:
            raise Misconfigured(why_deaf(host, port, error)) from error
        try:
            yield int(sockets.sockets[0].getsockname()[1])
        finally:
            sockets.close()
            await _let_go(app, server)
    finally:
        await runner.cleanup()


def why_deaf(host: str, port: int, error: OSError) -> str:
    """The line that says why a socket cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return f"TWOFOLD_PORT={port}: somebody listens on {host}:{port} already; end that, or take another port"
    return f"TWOFOLD_HOST={host}, TWOFOLD_PORT={port}: cannot be listened on ({error.strerror or error})"


async def _let_go(app: web.Application, server: web.Server) -> None:
    """Have nobody wait any more, and every answer be the last on its connection; those that ask nothing are closed after that."""
    await app.shutdown()
    deadline = asyncio.get_running_loop().time() + LAST_SECONDS
    while server.connections and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_SECONDS)


async def serve(
    app: web.Application, host: str, port: int, reuse_port: bool = False, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. `on_ready` is called once the socket listens."""
    is_stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_stopping.set)
    async with listen(app, host, port, reuse_port):
        if on_ready is not None:
            on_ready()
        await is_stopping.wait()
