"""POST /commands: up to 1,000 commands in one body, each let in or refused by itself.

JSON array or lines ──> Mint each ──> Admission, all at once, in order ──> which were accepted, and which were not
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from twofold.gateway.commands.admission import Admission, Mint
from twofold.gateway.http.answers import BulkAccepted, BulkAnswer, BulkRefused, encode
from twofold.gateway.http.headers import KEY, media_type_of, printable
from twofold.gateway.http.operation import AWAY, CHANGING, JSON, NDJSON, OBJECT, Operation, Reply, Route
from twofold.gateway.http.problem import Problem, note_refusal, problem_of
from twofold.gateway.http.refusals import Refusals
from twofold.gateway.http.request import BULK_BYTES_MAX, COMMAND_BYTES_MAX, read_body
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Error, Malformed

ITEMS_MAX = 1_000
LINES_MAX = 10 * ITEMS_MAX
"""Empty ones among them."""
ITEMS_A_TURN = 50
"""Items minted before others get their turn of the loop: about a millisecond."""


class BulkItem(msgspec.Struct, forbid_unknown_fields=True):
    """One command of a bulk request."""

    type: str
    data: msgspec.Raw
    idempotency_key: str | None = None


NO_ITEM = msgspec.Raw()

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BOUNDED = msgspec.json.Decoder(
    msgspec.defstruct(
        "Items",
        [(f"item_{number}", msgspec.Raw, NO_ITEM) for number in range(ITEMS_MAX)],
        array_like=True,
        forbid_unknown_fields=True,
    )
)
"""An array refused at its first item too many: a list is read to its end, and two million items keep everybody waiting."""
_ITEM = msgspec.json.Decoder(BulkItem)


class BulkEndpoint:
    def __init__(self, domain: Domain, mint: Mint, admission: Admission, refusals: Refusals) -> None:
        self._domain = domain
        self._mint = mint
        self._admission = admission
        self._refusals = refusals

    def routes(self) -> Iterable[Route]:
        return [Route("POST", "/commands", self.post, (_sending_many(self._domain),))]

    async def post(self, request: web.Request) -> web.Response:
        media_type = media_type_of(request.headers, JSON, NDJSON)
        items = split(media_type, await read_body(request, BULK_BYTES_MAX))
        self._admission.require_open()  # before a thousand commands are decoded for nothing
        refused: list[BulkRefused] = []
        minted = await self._minted(items, refused)
        verdicts = await self._admission.admit([envelope for _, envelope in minted])
        accepted = []
        for (index, envelope), refusal in zip(minted, verdicts, strict=True):
            if refusal is None:
                accepted.append(BulkAccepted(index, envelope.command_id))
            else:
                refused.append(self._refused(index, refusal))
        refused.sort(key=lambda item: item.index)
        return web.Response(body=encode(BulkAnswer(accepted, refused)), status=202, content_type=JSON)

    async def _minted(self, items: Sequence[bytes], refused: list[BulkRefused]) -> list[tuple[int, Envelope]]:
        minted = []
        for index, text in enumerate(items):
            if index % ITEMS_A_TURN == ITEMS_A_TURN - 1:
                await asyncio.sleep(0)
            try:
                item = item_of(text)
                key = printable("idempotency_key", item.idempotency_key)
                minted.append((index, self._mint.envelope(item.type, bytes(item.data), key)))
            except (Error, Problem) as error:
                refused.append(self._refused(index, error))
        return minted

    def _refused(self, index: int, error: Problem | Error) -> BulkRefused:
        problem = problem_of(error)
        if problem is None:
            raise error
        note_refusal(self._refusals, problem)
        return BulkRefused(index, problem.document())


def _sending_many(domain: Domain) -> Operation:
    item = {
        "type": "object",
        "required": ["type", "data"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": [tag for tag in domain.commands if tag not in domain.internal]},
            "data": OBJECT,
            "idempotency_key": {"anyOf": [KEY, {"type": "null"}]},
        },
    }
    return Operation(
        name="sendMany",
        tag="commands",
        summary=f"Up to {ITEMS_MAX} commands at once; each is accepted or refused by itself",
        body={
            JSON: {"type": "array", "maxItems": ITEMS_MAX, "items": item},
            NDJSON: {"type": "string", "description": "One such object a line."},
        },
        replies={202: Reply("Which were accepted, and which were not.", BulkAnswer)},
        problems=("malformed", "too-slow", "too-large", *CHANGING, *AWAY),
    )


def split(media_type: str, body: bytes) -> list[bytes]:
    """The items' JSON. Raises Malformed for a body that is no array at all, or has too many items, without reading the rest."""
    if media_type == NDJSON:
        if body.count(b"\n") > LINES_MAX:
            raise Malformed(f"more than {LINES_MAX} lines; at most {ITEMS_MAX} commands fit into one request")
        items = [line for line in body.split(b"\n") if line.strip()]
        if len(items) > ITEMS_MAX:
            raise Malformed(f"{len(items)} commands; at most {ITEMS_MAX} fit into one request")
        return items
    try:
        if body.count(b",") < ITEMS_MAX:
            return [bytes(item) for item in _ARRAY.decode(body)]
        return [bytes(item) for item in msgspec.structs.astuple(_BOUNDED.decode(body)) if item is not NO_ITEM]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a JSON array of at most {ITEMS_MAX} commands: {error}") from error


def item_of(text: bytes) -> BulkItem:
    if len(text) > COMMAND_BYTES_MAX:
        raise Problem("too-large", f"the command is larger than {COMMAND_BYTES_MAX} bytes")
    try:
        return _ITEM.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an object of type, data and idempotency_key: {error}") from error
