"""Both clients as one: the awaited one on a loop of its own, so that a test is written once and runs on either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from threading import Thread
from typing import Any, cast

from twofold.client import AsyncGateway, Gateway

SECONDS_MAX = 180.0
CLIENTS = ("blocking", "awaited")


class OnLoop:
    """An AsyncGateway that blocks."""

    def __init__(self, url: str, **named: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._gateway = AsyncGateway(url, **named)

    def close(self) -> None:
        self._done(self._gateway.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    def __enter__(self) -> OnLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._gateway, name)

        def call(*arguments: Any, **named: Any) -> Any:
            async def called() -> Any:
                answer = method(*arguments, **named)
                return answer if hasattr(answer, "__aiter__") else await answer

            found = self._done(called())
            return self._each(found) if hasattr(found, "__aiter__") else found

        return call

    def _each(self, values: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._done(anext(values))
                except StopAsyncIteration:
                    return
        finally:
            self._done(values.aclose())

    def _done(self, doing: Coroutine[Any, Any, Any]) -> Any:
        async def whole() -> Any:
            return await doing

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result(SECONDS_MAX)


def client(kind: str, url: str, **named: Any) -> Gateway:
    return Gateway(url, **named) if kind == "blocking" else cast(Gateway, OnLoop(url, **named))
