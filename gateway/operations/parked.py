"""GET /parked and its kin: what a bug or a poison event holds up, and what an operator does about it.

A parked thing is called `command-{id}` or `key-{view}-{key}`, the key percent-encoded: ready to be put into an address.

    retry a command ──> the same envelope, one attempt further, into its lane again
    retry or discard a key ──> a request, which the projector that holds the key's slice sees within its tick
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from twofold.gateway.commands.admission import Admission
from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import (
    AWAY,
    CHANGING,
    COUNT,
    JSON,
    NUMBER_MAX,
    OBJECT,
    STATUS,
    TEXT,
    Operation,
    Parameter,
    Reply,
    Route,
)
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import LIMIT, Params, path_text
from twofold.gateway.http.threads import Threads
from twofold.kernel.domain import Domain
from twofold.kernel.log import ParkedCommand
from twofold.kernel.ports import ParkedCommands, ParkedKeys
from twofold.kernel.rows import REKEYED, ParkedKey
from twofold.readmodels.schema.columns import is_stream_key

WAITING_SHOWN_MAX = 100


LIMIT_DEFAULT = 100

REF = Parameter("path", "ref", "As listed by /parked: `command-{id}` or `key-{view}-{key}`.", TEXT)
AFTER = Parameter("query", "after", "Only commands parked after the one with this number.", COUNT)


class ParkedEndpoints:
    def __init__(
        self, domain: Domain, admission: Admission, commands: ParkedCommands, keys: ParkedKeys, threads: Threads
    ) -> None:
        self._domain = domain
        self._admission = admission
        self._commands = commands
        self._keys = keys
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [
            Route("GET", "/parked", self.get_all, (ALL,)),
            Route("GET", "/parked/{ref}", self.get, (ONE,)),
            Route("POST", "/parked/{ref}/retry", self.retry, (RETRY,)),
            Route("POST", "/parked/{ref}/discard", self.discard, (DISCARD,)),
        ]

    async def get_all(self, request: web.Request) -> web.Response:
        params = Params(request, *ALL.parameters)
        after, limit = params.number(AFTER, 0), params.number(LIMIT, LIMIT_DEFAULT)
        commands, keys = await self._threads.run(lambda: (self._commands.parked(limit, after), self._first_keys(limit)))
        answer = {"commands": [_command(command) for command in commands], "keys": keys}
        return web.Response(body=encode(answer), content_type=JSON, headers={"Cache-Control": "no-store"})

    async def get(self, request: web.Request) -> web.Response:
        Params(request)
        command_id, named = self._named(request)
        if named is None:
            shown = _command(await self._parked_command(command_id)) if command_id is not None else {}
        else:
            shown = await self._threads.run(lambda: self._parked_key(*named))
        return web.Response(body=encode(shown), content_type=JSON, headers={"Cache-Control": "no-store"})

    async def retry(self, request: web.Request) -> web.Response:
        Params(request)
        command_id, named = self._named(request)
        if command_id is not None:
            envelope = (await self._parked_command(command_id)).envelope
            (refusal,) = await self._admission.admit([msgspec.structs.replace(envelope, attempt=envelope.attempt + 1)])
            if refusal is not None:
                raise refusal
            headers = {"Location": f"/commands/{envelope.command_id}", "Consistency-Token": envelope.command_id}
            body = encode({"status": "accepted", "command_id": envelope.command_id})
            return web.Response(body=body, status=202, content_type=JSON, headers=headers)
        return await self._requested(named, self._keys.request_retry)

    async def discard(self, request: web.Request) -> web.Response:
        Params(request)
        command_id, named = self._named(request)
        if command_id is not None:
            if not await self._threads.run(lambda: self._commands.discard(command_id)):
                raise _not_parked()
            return web.Response(body=b'{"status":"discarded"}', content_type=JSON)
        return await self._requested(named, self._keys.discard)

    async def _requested(self, named: tuple[str, str] | None, ask: Callable[[str, str], bool]) -> web.Response:
        if named is None or not await self._threads.run(lambda: ask(*named)):
            raise _not_parked()
        return web.Response(body=b'{"status":"accepted"}', status=202, content_type=JSON)

    def _named(self, request: web.Request) -> tuple[int | None, tuple[str, str] | None]:
        """A command's id, or a view and a key. Raises Problem not-parked for a name that is neither."""
        prefix, _, name = path_text(request, REF).partition("-")
        if prefix == "command" and name.isascii() and name.isdigit() and len(name) <= 19 and int(name) <= NUMBER_MAX:
            return int(name), None
        view, dash, key = name.partition("-")
        if prefix == "key" and dash and view in self._domain.views:
            return None, (view, key)
        raise _not_parked()

    async def _parked_command(self, parked_id: int) -> ParkedCommand:
        command = await self._threads.run(lambda: self._commands.parked_command(parked_id))
        if command is None:
            raise _not_parked()
        return command

    def _first_keys(self, limit: int) -> list[dict[str, Any]]:
        """So many keys, those of a view in the order they wait: a stream's takes a place in every slice."""
        asked = limit
        while True:
            found = self._keys.parked(limit=asked)
            keys = _keys(found)
            if len(keys) >= limit or len(found) < asked:
                return keys[:limit]
            asked *= 2

    def _parked_key(self, view: str, key: str) -> dict[str, Any]:
        parked = self._keys.parked(view, key)
        for shown in _keys(parked):
            return shown | {"waiting_positions": self._keys.waiting(parked[0].slice, key, WAITING_SHOWN_MAX)}
        raise _not_parked()


ALL = Operation(
    name="parked",
    tag="parked",
    summary="Commands and row keys that wait because of a bug",
    parameters=(AFTER, LIMIT),
    replies={
        200: Reply(
            "What is parked.",
            {
                "type": "object",
                "required": ["commands", "keys"],
                "properties": {"commands": {"type": "array", "items": OBJECT}, "keys": {"type": "array", "items": OBJECT}},
            },
        )
    },
    problems=("malformed", *AWAY),
)
ONE = Operation(
    name="parkedOne",
    tag="parked",
    summary="One of them, with its context",
    parameters=(REF,),
    replies={200: Reply("It.", OBJECT)},
    problems=("not-parked", "malformed", *AWAY),
)
RETRY = Operation(
    name="retryParked",
    tag="parked",
    summary="Try again, against the state as it is now",
    parameters=(REF,),
    replies={202: Reply("Asked.", STATUS)},
    problems=("not-parked", "malformed", *CHANGING, "key-reused", *AWAY),
)
DISCARD = Operation(
    name="discardParked",
    tag="parked",
    summary="Give it up for good",
    parameters=(REF,),
    replies={200: Reply("Done.", STATUS), 202: Reply("Asked.", STATUS)},
    problems=("not-parked", "malformed", *CHANGING, *AWAY),
)


def _command(parked: ParkedCommand) -> dict[str, Any]:
    envelope = parked.envelope
    named = {"ref": f"command-{parked.id}", "command_id": envelope.command_id, "type": envelope.type, "stream": envelope.stream}
    return named | msgspec.structs.asdict(parked)


def _keys(parked: Iterable[ParkedKey]) -> list[dict[str, Any]]:
    """Each key once, in the order given: a stream is parked in every slice of a view, and what is asked for it, of all."""
    by_key: dict[tuple[str, str], list[ParkedKey]] = {}
    for one in parked:
        by_key.setdefault((one.slice.view, one.key), []).append(one)
    return [_key(view, key, slices) for (view, key), slices in by_key.items()]


def _key(view: str, key: str, slices: Sequence[ParkedKey]) -> dict[str, Any]:
    """What is told of one slice is the first's, which begins first."""
    first = slices[0]
    shown = msgspec.structs.asdict(first) | {
        "view": view,
        "slice": str(first.slice),
        "slices": [str(one.slice) for one in slices],
    }
    shown["waiting"] = max(one.waiting for one in slices)
    if is_stream_key(key):
        reason = "keys or decoding raised"
    else:
        reason = "keys changed" if first.error.startswith(REKEYED) else "evolve raised"
    return {"ref": f"key-{view}-{quote(key, safe='')}", "reason": reason} | shown


def _not_parked() -> Problem:
    return Problem("not-parked", "/parked lists what is")
