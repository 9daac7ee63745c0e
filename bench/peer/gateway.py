"""The peer's gateway: aiohttp on uvloop, decoding strictly, publishing off the loop, 202 after the broker's confirm.

python -m bench.peer.gateway    settings: PEER_PORT, PEER_BROKER_URL, PEER_DATABASE_URL, PEER_PREFIX, PEER_PUBLISHERS
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import msgspec
import uvloop
from aiohttp import web
from sqlalchemy import func, select

import bench.domain
from bench.peer.actors import Actors, broker, canonical
from bench.peer.tables import EVENTS, ROWS, connect
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Malformed
from twofold.kernel.ids import new_command_id

BODY_BYTES_MAX = 4 * 1024 * 1024
READ_THREADS = 2


class Item(msgspec.Struct):
    """One item of a bulk post."""

    type: str
    data: msgspec.Raw


_ITEMS = msgspec.json.Decoder(list[Item])


class Gateway:
    """Publishing threads, each with a connection and channel of its own (that is how Dramatiq's broker works)."""

    def __init__(self, actors: Actors, publishers: int, database_url: str) -> None:
        self._codec = Codec(domain_of(bench.domain))
        self._actors = actors
        self._publishers = ThreadPoolExecutor(publishers, thread_name_prefix="publish")
        self._readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
        self._engine = connect(database_url, READ_THREADS)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/commands/{type}", self.one)
        app.router.add_post("/commands", self.bulk)
        app.router.add_get("/lag", self.lag)
        return app

    async def one(self, request: web.Request) -> web.Response:
        try:
            command_id = await self._publish(request.match_info["type"], await request.read())
        except Malformed as error:
            return _json({"title": "malformed", "detail": error.detail}, 400)
        return _json({"command_id": command_id, "status": "accepted"}, 202)

    async def bulk(self, request: web.Request) -> web.Response:
        items = _ITEMS.decode(await request.read())
        answers = await asyncio.gather(*(self._publish(item.type, bytes(item.data)) for item in items), return_exceptions=True)
        accepted = [{"index": index, "command_id": answer} for index, answer in enumerate(answers) if isinstance(answer, str)]
        refused = [
            {"index": index, "problem": str(answer)} for index, answer in enumerate(answers) if not isinstance(answer, str)
        ]
        return _json({"accepted": accepted, "refused": refused}, 202)

    async def lag(self, _request: web.Request) -> web.Response:
        """How many events there are, and how many of them the rows show."""
        head, shown = await asyncio.get_running_loop().run_in_executor(self._readers, self._counts)
        return _json({"head": head, "shown": shown})

    async def _publish(self, command_type: str, data: bytes) -> str:
        command_id, body = new_command_id(), canonical(self._codec, command_type, data)
        await asyncio.get_running_loop().run_in_executor(
            self._publishers, self._actors.decide.send, command_id, command_type, body
        )
        return command_id

    def _counts(self) -> tuple[int, int]:
        with self._engine.connect() as connection:
            head = connection.execute(select(func.count()).select_from(EVENTS)).scalar_one()
            return head, connection.execute(select(func.coalesce(func.sum(ROWS.c.row_version), 0))).scalar_one()


def _json(answer: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")


def main() -> None:
    actors = Actors(broker(os.environ["PEER_BROKER_URL"]), os.environ["PEER_PREFIX"], None)
    gateway = Gateway(actors, int(os.environ["PEER_PUBLISHERS"]), os.environ["PEER_DATABASE_URL"])
    uvloop.install()
    web.run_app(gateway.application(), host="127.0.0.1", port=int(os.environ["PEER_PORT"]), access_log=None, print=lambda _: None)


if __name__ == "__main__":
    main()
