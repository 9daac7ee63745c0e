"""GET /dead and its kin: messages that no worker may have again, and what an operator does about them.

    replay ──> every command of the letter into its lane again, durably ──> the letter is removed
    discard ──> the letter is removed; its commands never take effect

A replayed command that had its outcome already keeps it. Others are decided now, behind what has come since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, CHANGING, JSON, OBJECT, STATUS, TEXT, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import Params, path_text
from twofold.gateway.http.threads import Threads
from twofold.kernel.envelope import Envelope, decode_batch
from twofold.kernel.errors import Malformed
from twofold.kernel.letters import DeadLetter, DeadLetters
from twofold.kernel.ports import CommandQueue

COMMANDS_SHOWN_MAX = 10
REPLAY_SECONDS_MAX = 15.0

ID = Parameter("path", "id", "As listed by /dead.", TEXT)


class DeadEndpoints:
    def __init__(self, queue: CommandQueue, dead: DeadLetters, threads: Threads) -> None:
        self._queue = queue
        self._dead = dead
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [
            Route("GET", "/dead", self.get_all, (ALL,)),
            Route("POST", "/dead/{id}/replay", self.replay, (REPLAY,)),
            Route("POST", "/dead/{id}/discard", self.discard, (DISCARD,)),
        ]

    async def get_all(self, request: web.Request) -> web.Response:
        Params(request)
        letters = await self._threads.run(self._dead.letters)
        body = encode({"items": [_shown(letter) for letter in letters]})
        return web.Response(body=body, content_type=JSON, headers={"Cache-Control": "no-store"})

    async def replay(self, request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()

        def put(letter: DeadLetter) -> None:
            envelopes = decode_batch(letter.body)
            asyncio.run_coroutine_threadsafe(self._put(envelopes), loop).result(REPLAY_SECONDS_MAX)

        try:
            return await self._take_out(request, put, "replayed")
        except Malformed as error:
            raise Problem("malformed", "no command can be read from this letter; discard it") from error

    async def discard(self, request: web.Request) -> web.Response:
        return await self._take_out(request, lambda letter: None, "discarded")

    async def _put(self, envelopes: list[Envelope]) -> None:
        """In order, and durable. Raises what the first of them fails with; the others may be in their lanes all the same."""
        ended = await asyncio.gather(*[self._queue.put(envelope) for envelope in envelopes], return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure

    async def _take_out(self, request: web.Request, use: Callable[[DeadLetter], None], status: str) -> web.Response:
        Params(request)
        letter_id = path_text(request, ID)
        if not await self._threads.run(lambda: self._dead.take_out(letter_id, use)):
            raise Problem("no-such-letter", "/dead lists those there are")
        return web.Response(body=encode({"status": status}), content_type=JSON)


ALL = Operation(
    name="dead",
    tag="dead",
    summary="Dead letters: messages that killed their workers again and again, or that no worker can decode",
    replies={
        200: Reply(
            "The oldest of them.",
            {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": OBJECT}}},
        )
    },
    problems=("malformed", *AWAY),
)
REPLAY = Operation(
    name="replayDead",
    tag="dead",
    summary="Put its commands into their lanes again, behind what waits there",
    parameters=(ID,),
    replies={200: Reply("Done: they are durable.", STATUS)},
    problems=("no-such-letter", "malformed", *CHANGING, *AWAY),
)
DISCARD = Operation(
    name="discardDead",
    tag="dead",
    summary="Give it up for good, its commands unseen",
    parameters=(ID,),
    replies={200: Reply("Done.", STATUS)},
    problems=("no-such-letter", "malformed", *CHANGING, *AWAY),
)


def _shown(letter: DeadLetter) -> dict[str, Any]:
    try:
        envelopes = decode_batch(letter.body)
    except Malformed:
        envelopes = []
    return {
        "id": letter.id,
        "lane": letter.lane,
        "reason": letter.reason,
        "died_at": letter.died_at,
        "bytes": len(letter.body),
        "command_count": len(envelopes),
        "commands": [{"command_id": e.command_id, "type": e.type, "stream": e.stream} for e in envelopes[:COMMANDS_SHOWN_MAX]],
    }
