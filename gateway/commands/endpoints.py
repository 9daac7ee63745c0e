"""POST /commands/{Type} and GET /commands/{id}: one command in, and what became of it.

headers, body ──> Door.mint ──> inbox (only with a key), version (only with If-Match) ──> Door.enter ──> 202, or the outcome
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import web

from twofold.gateway.commands.admission import Door
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.answers import Accepted, CommandStatus, encode, status_of
from twofold.gateway.http.body import COMMAND_BYTES_MAX, JSON, media_type_of, read_body
from twofold.gateway.http.headers import NO_PREFERENCES, Preferences, expected_version_of, preferences_of, printable
from twofold.gateway.http.params import Params, path_text
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.threads import Threads
from twofold.kernel.codes import STREAM_MOVED
from twofold.kernel.envelope import Envelope
from twofold.kernel.ids import is_possible_command_id
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import History


class Commands:
    def __init__(self, door: Door, board: OutcomeBoard, events: History, threads: Threads) -> None:
        self._door = door
        self._board = board
        self._events = events
        self._threads = threads

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/commands/{name}", self.post), web.get("/commands/{name}", self.get)]

    async def post(self, request: web.Request) -> web.Response:
        headers = request.headers
        media_type_of(request, JSON)
        preferences = preferences_of(headers)
        key = printable("Idempotency-Key", headers.get("Idempotency-Key"))
        envelope = self._door.mint(
            request.match_info["name"],
            await read_body(request, COMMAND_BYTES_MAX),
            key,
            expected_version_of(headers),
            printable("Correlation-Id", headers.get("Correlation-Id")),
        )
        self._door.require_ready()
        if key is not None:
            await self._board.find(envelope.command_id)
        if envelope.expected_version is not None and not self._door.knows(envelope):
            await self._require_version(envelope)
        confirmed = self._door.enter(envelope)
        if confirmed is not None:
            await (confirmed if key is None else asyncio.shield(confirmed))
        if preferences.wait_seconds is None:
            return _accepted(envelope, NO_PREFERENCES)
        outcome = await self._board.wait(envelope.command_id, preferences.wait_seconds)
        return _accepted(envelope, preferences) if outcome is None else _decided(outcome, preferences)

    async def get(self, request: web.Request) -> web.Response:
        Params(request, ())
        command_id = path_text(request, "name")
        if not is_possible_command_id(command_id):
            raise Problem("no-such-command-id", "no gateway can have given out this id")
        preferences = preferences_of(request.headers)
        outcome = await self._board.find(command_id)
        if outcome is None and preferences.wait_seconds:
            outcome = await self._board.wait(command_id, preferences.wait_seconds)
        headers = {"Cache-Control": "no-store"} | _applied(preferences)
        return web.Response(body=encode(self._status(command_id, outcome)), content_type=JSON, headers=headers)

    def _status(self, command_id: str, outcome: Outcome | None) -> CommandStatus:
        if outcome is not None:
            return status_of(outcome)
        accepted = self._board.accepted(command_id)
        return CommandStatus(
            command_id=command_id,
            type=accepted.type if accepted else None,
            stream=accepted.stream if accepted else None,
            status="pending",
            accepted_at=accepted.accepted_at if accepted else None,
        )

    async def _require_version(self, envelope: Envelope) -> None:
        """A first look, so that most lose at once; the worker looks again when it decides."""
        version = await self._threads.run(lambda: self._events.version(envelope.stream))
        if version != envelope.expected_version:
            raise _moved(version, envelope.expected_version)


def _accepted(envelope: Envelope, preferences: Preferences) -> web.Response:
    body = encode(Accepted(envelope.command_id, envelope.type, envelope.stream))
    return web.Response(body=body, status=202, content_type=JSON, headers=_about(envelope.command_id, preferences))


def _decided(outcome: Outcome, preferences: Preferences) -> web.Response:
    """The outcome; one that says no is a problem."""
    headers = _about(outcome.command_id, preferences)
    if outcome.status != "rejected":
        return web.Response(body=encode(status_of(outcome)), content_type=JSON, headers=headers)
    details = outcome.details or {}
    if outcome.code == STREAM_MOVED:
        problem = _moved(outcome.version, details.get("expected"))
        problem.members["command_id"] = outcome.command_id
    else:
        code = outcome.code or ""
        problem = Problem("rejected", code, code=code, details=details, command_id=outcome.command_id)
    problem.headers = headers
    return problem.response()


def _about(command_id: str, preferences: Preferences) -> dict[str, str]:
    named = {"Location": f"/commands/{command_id}", "Consistency-Token": command_id}
    return named | _applied(preferences) if preferences is not NO_PREFERENCES else named


def _applied(preferences: Preferences) -> dict[str, str]:
    applied = preferences.applied()
    return {"Preference-Applied": applied} if applied else {}


def _moved(version: int, expected: object) -> Problem:
    return Problem(
        "stream-moved",
        f"the stream is at version {version}, not at {expected}",
        code=STREAM_MOVED,
        details={"version": version, "expected": expected},
    )
