"""The client for coroutines. Every call is the one of the same name of Gateway (gateway.py), which says what it does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twofold.client import bulks, calls, listening
from twofold.client.answers import BulkResult, CommandAnswer, LoggedEvent, PageAnswer, RowAnswer
from twofold.client.bulks import Item
from twofold.client.endpoint import endpoint_of
from twofold.client.refusals import Refused
from twofold.client.said import Manner, Question, Token, Where
from twofold.kernel.messages import Command

if TYPE_CHECKING:
    from twofold.client.sessions import AsyncConnections


class AsyncGateway:
    """As Gateway, for one event loop: that on which it is first used. Its iterators are closed by `contextlib.aclosing`, or with
    it; one that is only left by `break` keeps its connection until the loop's next collection of garbage."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 60.0,
    ) -> None:
        self._endpoint = endpoint_of(url)
        self.url = self._endpoint.url
        self._manner = Manner(dict(headers or {}), timeout_seconds, patience_seconds)
        self._opened: AsyncConnections | None = None

    async def __aenter__(self) -> AsyncGateway:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what is under way, too."""
        await self._session.close()

    async def send(
        self,
        command: str | Command,
        data: object = None,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        wait_seconds: float | None = None,
    ) -> CommandAnswer:
        """Submit a command. As Gateway.send."""
        return await self._session.run(calls.send(self._manner, command, data, idempotency_key, expected_version, wait_seconds))

    def bulk(self, commands: Iterable[Item]) -> AsyncGenerator[BulkResult, None]:
        """Submit any number of commands: what became of each, in order. As Gateway.bulk."""
        return self._session.each(bulks.bulk(self._manner, commands))

    async def wait(self, command_id: str, seconds: float) -> CommandAnswer:
        """What became of a command, waited for up to `seconds`. As Gateway.wait."""
        return await self._session.run(calls.wait(self._manner, command_id, seconds))

    async def outcome(self, command_id: str) -> CommandAnswer:
        """What became of a command, as far as is known now. As Gateway.outcome."""
        return await self._session.run(calls.outcome(self._manner, command_id))

    async def get(
        self, view: str, key: str, *, after: Token | None = None, wait_seconds: float | None = None, lenient: bool = False
    ) -> RowAnswer:
        """One row. As Gateway.get."""
        return await self._session.run(calls.get(self._manner, view, key, after, wait_seconds, lenient))

    async def page(
        self,
        view: str,
        where: Where | None = None,
        *,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        after: Token | None = None,
        wait_seconds: float | None = None,
        lenient: bool = False,
    ) -> PageAnswer:
        """One page of rows. As Gateway.page."""
        return await self._session.run(calls.page(self._manner, view, where, order, limit, cursor, after, wait_seconds, lenient))

    async def queries(
        self,
        questions: Iterable[Question],
        *,
        after: Token | None = None,
        wait_seconds: float | None = None,
        lenient: bool = False,
    ) -> list[RowAnswer | PageAnswer | Refused]:
        """Up to 20 questions at once: one answer each, in order. As Gateway.queries."""
        return await self._session.run(calls.queries(self._manner, questions, after, wait_seconds, lenient))

    def pages(
        self,
        view: str,
        where: Where | None = None,
        *,
        order: str | None = None,
        limit: int | None = None,
        after: Token | None = None,
        wait_seconds: float | None = None,
        lenient: bool = False,
    ) -> AsyncGenerator[PageAnswer, None]:
        """Every page, one after the other. As Gateway.pages."""
        return self._session.each(calls.pages(self._manner, view, where, order, limit, after, wait_seconds, lenient))

    def events(self, after: int = 0, types: Iterable[str] = ()) -> AsyncGenerator[LoggedEvent, None]:
        """The log behind position `after`, and then every event as it is written. As Gateway.events."""
        return self._session.each(listening.events(self._manner, after, types))

    def watch(
        self, view: str, key: str, *, after: Token | None = None, wait_seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any] | None, None]:
        """One row now, and then whenever it has changed; None when it is gone. As Gateway.watch."""
        return self._session.each(listening.watch(self._manner, view, key, after, wait_seconds))

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        is_repeatable: bool | None = None,
    ) -> Any:
        """Anything else that a gateway can be asked: the decoded JSON. As Gateway.call."""
        return await self._session.run(calls.call(self._manner, method, path, body, headers, timeout_seconds, is_repeatable))

    @property
    def _session(self) -> AsyncConnections:
        """Opened where it is first used: aiohttp takes a second to import, which who blocks need not wait for."""
        if self._opened is None:
            from twofold.client.sessions import AsyncConnections

            self._opened = AsyncConnections(self._endpoint)
        return self._opened
