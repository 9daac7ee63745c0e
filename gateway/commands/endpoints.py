"""POST /commands/{Type} and GET /commands/{id}: one command in, and what became of it.

headers, body ──> Mint ──> Admission ──> 202, or the outcome for whoever waits
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from twofold.gateway.commands.admission import Admission, Mint, stream_moved
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.answers import Accepted, CommandStatus, encode, status_of
from twofold.gateway.http.headers import (
    CORRELATION_ID,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    NO_PREFERENCES,
    PREFER,
    Preferences,
    expected_version_of,
    media_type_of,
    preferences_of,
    printable,
)
from twofold.gateway.http.operation import AWAY, CHANGING, JSON, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import COMMAND_BYTES_MAX, Params, path_text, read_body
from twofold.kernel.codes import STREAM_MOVED
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.ids import is_possible_command_id
from twofold.kernel.messages import Command
from twofold.kernel.outcome import Outcome

COMMAND_ID = Parameter("path", "command_id", "From the 202.", {"type": "string", "format": "uuid"})


class CommandEndpoints:
    def __init__(self, domain: Domain, mint: Mint, admission: Admission, board: OutcomeBoard) -> None:
        self._domain = domain
        self._mint = mint
        self._admission = admission
        self._board = board

    def routes(self) -> Iterable[Route]:
        open_to_all = [tag for tag in self._domain.commands if tag not in self._domain.internal]
        sending = tuple(_sending(tag, self._domain.commands[tag]) for tag in open_to_all)
        return [
            Route("POST", "/commands/{type}", self.post, sending),
            Route("GET", "/commands/{command_id}", self.get, (STATUS_OPERATION,)),
        ]

    async def post(self, request: web.Request) -> web.Response:
        headers = request.headers
        media_type_of(headers, JSON)
        preferences = preferences_of(headers)
        key = printable(IDEMPOTENCY_KEY.name, headers.get(IDEMPOTENCY_KEY.name))
        envelope = self._mint.envelope(
            request.match_info["type"],
            await read_body(request, COMMAND_BYTES_MAX),
            key,
            expected_version_of(headers),
            printable(CORRELATION_ID.name, headers.get(CORRELATION_ID.name)),
        )
        return await submitted(envelope, preferences, self._admission, self._board)

    async def get(self, request: web.Request) -> web.Response:
        Params(request)
        command_id = path_text(request, COMMAND_ID)
        if not is_possible_command_id(command_id):
            raise Problem("no-such-command-id", "ids are as /commands gave them out")
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


def _sending(tag: str, command: type[Command]) -> Operation:
    return Operation(
        name=f"send{tag}",
        tag="commands",
        summary=tag,
        description=(command.__doc__ or "").strip().split("\n\n")[0],
        fills={"type": tag},
        parameters=(PREFER, IDEMPOTENCY_KEY, IF_MATCH, CORRELATION_ID),
        body={JSON: command},
        replies={
            200: Reply("Decided while you waited.", CommandStatus, ("Location", "Consistency-Token", "Preference-Applied")),
            202: Reply("Durable; decided soon.", Accepted, ("Location", "Consistency-Token")),
        },
        problems=(
            "malformed",
            "too-slow",
            "rejected",
            "stream-moved",
            "too-large",
            *CHANGING,
            "key-reused",
            *AWAY,
        ),
    )


STATUS_OPERATION = Operation(
    name="commandStatus",
    tag="commands",
    summary="What became of a command",
    parameters=(COMMAND_ID, PREFER),
    replies={200: Reply("Its status.", CommandStatus, ("Preference-Applied",))},
    problems=("malformed", "no-such-command-id", *AWAY),
)


async def submitted(envelope: Envelope, preferences: Preferences, admission: Admission, board: OutcomeBoard) -> web.Response:
    """Let it in; the answer that says so, or what came of it to whoever waits."""
    (refusal,) = await admission.admit((envelope,))
    if refusal is not None:
        raise refusal
    if preferences.wait_seconds is None:
        return _accepted(envelope, NO_PREFERENCES)
    outcome = await board.wait(envelope.command_id, preferences.wait_seconds)
    if outcome is None:
        return _accepted(envelope, preferences)
    admission.require_same(envelope, outcome.fingerprint)  # another gateway may have let another body in, which won
    return _decided(outcome, preferences)


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
        problem = stream_moved(outcome.version, details.get("expected"))
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
