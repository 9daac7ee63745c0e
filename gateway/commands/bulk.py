"""POST /commands: up to 1,000 commands in one body, each let in or refused by itself.

JSON array or lines ──> mint each ──> one look into the inbox for all keys ──> enter each, in order ──> wait for all
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from twofold.gateway.commands.admission import Door
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.answers import BulkAccepted, BulkAnswer, BulkRefused, encode
from twofold.gateway.http.body import BULK_BYTES_MAX, COMMAND_BYTES_MAX, JSON, NDJSON, media_type_of, read_body
from twofold.gateway.http.headers import printable
from twofold.gateway.http.problem import Problem, problem_of
from twofold.gateway.http.threads import Threads
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Error, Malformed
from twofold.kernel.ports import Inbox

ITEMS_MAX = 1_000
ITEMS_A_TURN = 50
"""Items minted before others get their turn of the loop: about a millisecond."""


class BulkItem(msgspec.Struct, forbid_unknown_fields=True):
    """One command of a bulk request."""

    type: str
    data: msgspec.Raw
    idempotency_key: str | None = None


_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ITEM = msgspec.json.Decoder(BulkItem)

Entered = tuple[int, str, "asyncio.Future[None] | None"]
"""Place in the request, command id, and the queue's future (None: let in before)."""


class Bulk:
    def __init__(self, door: Door, board: OutcomeBoard, events: Inbox, threads: Threads) -> None:
        self._door = door
        self._board = board
        self._events = events
        self._threads = threads

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/commands", self.post)]

    async def post(self, request: web.Request) -> web.Response:
        media_type = media_type_of(request, JSON, NDJSON)
        items = _split(media_type, await read_body(request, BULK_BYTES_MAX))
        self._door.require_ready()
        refused: list[BulkRefused] = []
        minted = await self._mint(items, refused)
        await self._recall([envelope.command_id for _, envelope, is_keyed in minted if is_keyed])
        entered = self._enter(minted, refused)
        accepted = await _confirmed(entered, refused)
        refused.sort(key=lambda item: item.index)
        return web.Response(body=encode(BulkAnswer(accepted, refused)), status=202, content_type=JSON)

    async def _mint(self, items: Sequence[bytes], refused: list[BulkRefused]) -> list[tuple[int, Envelope, bool]]:
        minted = []
        for index, text in enumerate(items):
            if index % ITEMS_A_TURN == ITEMS_A_TURN - 1:
                await asyncio.sleep(0)
            try:
                item = _item(text)
                key = printable("idempotency_key", item.idempotency_key)
                minted.append((index, self._door.mint(item.type, bytes(item.data), key), key is not None))
            except (Error, Problem) as error:
                refused.append(_refusal(index, error))
        return minted

    async def _recall(self, command_ids: Sequence[str]) -> None:
        """One look-up for all the ids made of keys, so that `Door.knows` is complete."""
        if command_ids:
            found = await self._threads.run(lambda: self._events.outcomes(command_ids))
            self._board.hear(list(found.values()))

    def _enter(self, minted: Sequence[tuple[int, Envelope, bool]], refused: list[BulkRefused]) -> list[Entered]:
        entered: list[Entered] = []
        for index, envelope, _ in minted:
            try:
                entered.append((index, envelope.command_id, self._door.enter(envelope)))
            except (Error, Problem) as error:
                refused.append(_refusal(index, error))
        return entered


async def _confirmed(entered: Sequence[Entered], refused: list[BulkRefused]) -> list[BulkAccepted]:
    """Wait until every one of them is durable, or is known not to be."""
    futures = {future for _, _, future in entered if future is not None}
    if futures:
        await asyncio.wait(futures)
    accepted = []
    for index, command_id, future in entered:
        error = future.exception() if future is not None else None
        if error is None:
            accepted.append(BulkAccepted(index, command_id))
        elif isinstance(error, Error):
            refused.append(_refusal(index, error))
        else:
            raise error
    return accepted


def _split(media_type: str, body: bytes) -> list[bytes]:
    """The items' JSON. Raises Malformed for a body that is no array at all, or has too many items."""
    if media_type == NDJSON:
        items = [line for line in body.split(b"\n") if line.strip()]
    else:
        try:
            items = [bytes(item) for item in _ARRAY.decode(body)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"not a JSON array of commands: {error}") from error
    if len(items) > ITEMS_MAX:
        raise Malformed(f"{len(items)} commands; at most {ITEMS_MAX} fit into one request")
    return items


def _item(text: bytes) -> BulkItem:
    if len(text) > COMMAND_BYTES_MAX:
        raise Problem("too-large", f"the command is larger than {COMMAND_BYTES_MAX} bytes")
    try:
        return _ITEM.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an object of type, data and idempotency_key: {error}") from error


def _refusal(index: int, error: Exception) -> BulkRefused:
    problem = problem_of(error)
    if problem is None:
        raise error
    return BulkRefused(index, problem.document())
