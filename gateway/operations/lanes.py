"""GET and PUT /lanes: how many lanes there are, what waits on them, and another number of them.

The same as `twofold lanes`: PUT opens the next epoch, and workers see the one before to its end, also while nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, CHANGING, COUNT, JSON, Operation, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import COMMAND_BYTES_MAX, Params, read_body
from twofold.gateway.http.threads import Threads
from twofold.kernel.errors import Malformed, Misconfigured
from twofold.kernel.lanes import LANES_MAX, LaneOperations, LaneState
from twofold.kernel.ports import CommandQueue


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=LANES_MAX)]


class LaneEndpoints:
    def __init__(self, lanes: LaneOperations, queue: CommandQueue, threads: Threads) -> None:
        self._lanes = lanes
        self._queue = queue
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [Route("GET", "/lanes", self.get, (SHOW,)), Route("PUT", "/lanes", self.put, (CHANGE,))]

    async def get(self, request: web.Request) -> web.Response:
        Params(request)
        return await self._answer(await self._threads.run(self._lanes.lane_state))

    async def put(self, request: web.Request) -> web.Response:
        Params(request)
        try:
            count = msgspec.json.decode(await read_body(request, COMMAND_BYTES_MAX), type=Wish).count
        except msgspec.DecodeError as error:
            raise Malformed(f'the body is {{"count": how many lanes}}: {error}') from error
        return await self._answer(await self._threads.run(lambda: self._opened(count)))

    def _opened(self, count: int) -> LaneState:
        """As it is once the epoch that has so many lanes is open."""
        try:
            state = next(iter(self._lanes.set_lanes(count)))
        except Misconfigured as error:
            raise Problem("cannot-resize", str(error)) from error
        if state.newest.lane_count != count:
            raise Problem("cannot-resize", "what is left of the epoch before is still seen to; ask again", {"Retry-After": "1"})
        return state

    async def _answer(self, state: LaneState) -> web.Response:
        depths = await self._threads.run(self._lanes.depths)
        count, seconds = state.newest.lane_count, self._queue.queue_seconds()
        shown: dict[str, Any] = {
            "epoch": state.newest.number,
            "count": count,
            "depths": {lane: depth for lane, depth in depths.items() if lane.isdigit()},
            "queue_seconds": {str(lane): round(seconds.get(lane, 0.0), 3) for lane in range(count)},
        }
        if state.working != state.newest and state.old is not None:
            shown["draining"] = {"epoch": state.old.number, "left": state.old.lane_count - len(state.drained)}
        return web.Response(body=encode(shown), content_type=JSON, headers={"Cache-Control": "no-store"})


BY_LANE: Any = {"type": "object", "additionalProperties": {"type": "number"}}
LANES: Any = {
    "type": "object",
    "required": ["epoch", "count", "depths", "queue_seconds"],
    "properties": {
        "epoch": COUNT,
        "count": COUNT,
        "draining": {
            "type": "object",
            "description": "The epoch before, while workers finish it first; how many of its lanes are left.",
            "required": ["epoch", "left"],
            "properties": {"epoch": COUNT, "left": COUNT},
        },
        "depths": {**BY_LANE, "description": "Messages that wait, by lane."},
        "queue_seconds": {**BY_LANE, "description": "By lane, how long a command that comes in here would wait for its worker."},
    },
}
SHOW = Operation(
    name="lanes",
    tag="operations",
    summary="How many lanes there are, and what waits on them",
    replies={200: Reply("The lanes.", LANES)},
    problems=("malformed", *AWAY),
)
CHANGE = Operation(
    name="resizeLanes",
    tag="operations",
    summary="Have another number of lanes",
    description="What was accepted before is decided first; what comes in meanwhile waits in the new lanes.",
    body={
        JSON: {
            "type": "object",
            "required": ["count"],
            "properties": {"count": {"type": "integer", "minimum": 1, "maximum": LANES_MAX}},
        }
    },
    replies={200: Reply("There are so many from now on.", LANES)},
    problems=("malformed", *CHANGING, "cannot-resize", "too-slow", "too-large", *AWAY),
)
