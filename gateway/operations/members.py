"""GET /members: every living process of the deployment, and what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, COUNT, JSON, TEXT, Operation, Reply, Route
from twofold.gateway.http.request import Params
from twofold.gateway.http.threads import Threads
from twofold.kernel.members import Member
from twofold.kernel.ports import Leases


class MemberEndpoint:
    def __init__(self, leases: Leases, threads: Threads) -> None:
        self._leases = leases
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [Route("GET", "/members", self.get, (MEMBERS,))]

    async def get(self, request: web.Request) -> web.Response:
        Params(request)
        members = await self._threads.run(self._leases.members)
        body = encode([_shown(member) for member in members])
        return web.Response(body=body, content_type=JSON, headers={"Cache-Control": "no-store"})


def _shown(member: Member) -> dict[str, Any]:
    return {
        "room": member.room,
        "host": member.host,
        "pid": member.pid,
        "version": member.version,
        "since": member.since,
        "last_seen": member.last_seen,
        "holds": member.holds,
        "standby": member.is_standby,
    }


TIME: Any = {"type": "string", "format": "date-time"}
MEMBERS = Operation(
    name="members",
    tag="operations",
    summary="Every living process, and what it holds",
    replies={
        200: Reply(
            "By room.",
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["room", "host", "pid", "version", "since", "last_seen", "holds", "standby"],
                    "properties": {
                        "room": TEXT,
                        "host": TEXT,
                        "pid": COUNT,
                        "version": {"type": "string"},
                        "since": TIME,
                        "last_seen": {**TIME, "description": "When it last said that it is alive, by the database's clock."},
                        "holds": {"type": "array", "items": TEXT, "description": "Lanes, or slices of views."},
                        "standby": {
                            "type": "boolean",
                            "description": "It wants a share of what its room does, and there is none left for it.",
                        },
                    },
                },
            },
        )
    },
    problems=("malformed", *AWAY),
)
