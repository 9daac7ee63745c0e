"""The blocking client. For scripts, threads and tests; in a coroutine take AsyncGateway."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from types import TracebackType
from typing import Any

from twofold.client import bulks, calls, listening
from twofold.client.answers import BulkResult, CommandAnswer, LoggedEvent, PageAnswer, RowAnswer
from twofold.client.bulks import Item
from twofold.client.connections import Connections
from twofold.client.endpoint import endpoint_of
from twofold.client.refusals import Refused
from twofold.client.said import Manner, Question, Token, Where
from twofold.kernel.messages import Command


class Gateway:
    """A gateway at `url`: `http://host:port`, `https://…`, a path before everything allowed. Connects when first asked.

    `headers` go with every request. One answer is waited for `timeout_seconds` (beyond what the gateway itself is asked to wait).
    While it is away, or says that it has too much to do, what may be asked twice is asked again, for `patience_seconds`, and no
    sooner than its `Retry-After` says; 0: never. Thread-safe. Close it, or use it as a context manager: that ends what other
    threads have under way, too.

    Every call may raise Refused (the answer is a problem) and Unavailable (nobody answered); the constructor, Misconfigured.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 60.0,
    ) -> None:
        endpoint = endpoint_of(url)
        self.url = endpoint.url
        self._manner = Manner(dict(headers or {}), timeout_seconds, patience_seconds)
        self._connections = Connections(endpoint)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connections.close()

    def send(
        self,
        command: str | Command,
        data: object = None,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        wait_seconds: float | None = None,
    ) -> CommandAnswer:
        """Submit a command: one of the domain's, or its name and its fields. Durable when this returns.

        It takes effect once, however often it had to be sent: it has a key, a random one if none is given. Who wants to try again
        after Unavailable, or after his own process has died, gives one of his own (1 to 200 characters). `expected_version`: only
        if its stream is there still. `wait_seconds`: how long to wait for its outcome; without, or when that is over, its status
        is `accepted`.

        Raises Declined (a `twofold.Rejected`) when it was waited for and the domain said no, StreamMoved, Refused.
        """
        return self._connections.run(calls.send(self._manner, command, data, idempotency_key, expected_version, wait_seconds))

    def bulk(self, commands: Iterable[Item]) -> Generator[BulkResult, None, None]:
        """Submit any number of commands: what became of each, in order. Items are commands of the domain, or mappings
        `{"type": …, "data": …, "idempotency_key": …}`, the last of which may be left out.

        They are read and sent as this is iterated over, an array of at most 1,000 items and 4 MiB after the other. Nothing is
        raised for an item that is refused. Items of one array that the gateway puts off are sent again behind the others of it.
        Raises Unavailable when nobody answers any more, after what is known of every item that was sent has been given.
        """
        return self._connections.each(bulks.bulk(self._manner, commands))

    def wait(self, command_id: str, seconds: float) -> CommandAnswer:
        """What became of a command, waited for up to `seconds`; its status is `pending` when that is over. Raises as `send`."""
        return self._connections.run(calls.wait(self._manner, command_id, seconds))

    def outcome(self, command_id: str) -> CommandAnswer:
        """What became of a command, as far as is known now; `rejected` is a status here."""
        return self._connections.run(calls.outcome(self._manner, command_id))

    def get(
        self, view: str, key: str, *, after: Token | None = None, wait_seconds: float | None = None, lenient: bool = False
    ) -> RowAnswer:
        """One row. With `after`, a command's id or a position, it shows what that stands for, and is waited for `wait_seconds`
        (2 s when not given). Raises ViewBehind when that is over; `lenient`: the row there is instead."""
        return self._connections.run(calls.get(self._manner, view, key, after, wait_seconds, lenient))

    def page(
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
        """One page of rows: those whose fields are as `where` says, a value or a half-open range `(from, to)`, either of them
        None for no bound. `order` is a field, with `-` before it descending; `limit` at most 1,000; `cursor` is `next` of the
        page before, asked for in the same way. The rest as `get`."""
        return self._connections.run(calls.page(self._manner, view, where, order, limit, cursor, after, wait_seconds, lenient))

    def queries(
        self,
        questions: Iterable[Question],
        *,
        after: Token | None = None,
        wait_seconds: float | None = None,
        lenient: bool = False,
    ) -> list[RowAnswer | PageAnswer | Refused]:
        """Up to 20 questions at once: `{"view": …, "key": …}`, or `{"view": …, "where": …, "order": …, "limit": …, "cursor": …}`
        as for `page`. One answer each, in order, all of them at or after `after`; one that is refused, or not there in time, is a
        Refused in its place (ViewBehind among them) and is not raised. The rest as `get`."""
        return self._connections.run(calls.queries(self._manner, questions, after, wait_seconds, lenient))

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
    ) -> Generator[PageAnswer, None, None]:
        """Every page, one after the other, each asked for when it is wanted; at least one. As `page`."""
        return self._connections.each(calls.pages(self._manner, view, where, order, limit, after, wait_seconds, lenient))

    def events(self, after: int = 0, types: Iterable[str] = ()) -> Generator[LoggedEvent, None, None]:
        """The log behind position `after`, and then every event as it is written, for ever; of these types, if any are named.

        A connection that breaks is taken up again where it broke: nothing is left out, nothing comes twice. Raises Unavailable
        when there is none for `patience_seconds`: go on with `events(after=…)` behind the last position seen.
        """
        return self._connections.each(listening.events(self._manner, after, types))

    def watch(
        self, view: str, key: str, *, after: Token | None = None, wait_seconds: float | None = None
    ) -> Generator[dict[str, Any] | None, None, None]:
        """One row now, and then whenever it has changed, for ever; None when it is gone. States in between may be left out. Else
        as `events`; `after` as for `get`."""
        return self._connections.each(listening.watch(self._manner, view, key, after, wait_seconds))

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        is_repeatable: bool | None = None,
    ) -> Any:
        """Anything else that a gateway can be asked (`/openapi.json` lists it): the decoded JSON. `path` is percent-encoded.

        `is_repeatable`: whether it is asked again while the gateway is away; unless said otherwise, for GET alone.
        """
        return self._connections.run(calls.call(self._manner, method, path, body, headers, timeout_seconds, is_repeatable))
