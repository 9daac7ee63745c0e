"""POST /processes/{name}/{key}/retry and …/cancel: what somebody may do about an instance that does not get on by itself.

retry, cancel ──> a command to the instance's own stream, let in as any is ──> an event of it, which the process hears
  └── retry of an instance whose key is parked ──> the key's retry is asked for, too
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from aiohttp import web

from twofold.gateway.commands.admission import ANONYMOUS, Admission
from twofold.gateway.commands.endpoints import submitted
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.answers import Accepted, CommandStatus
from twofold.gateway.http.headers import IDEMPOTENCY_KEY, PREFER, preferences_of, printable
from twofold.gateway.http.operation import AWAY, CHANGING, JSON, TEXT_CHARS_MAX, Operation, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import COMMAND_BYTES_MAX, ROW_KEY, STREAM_CHARS_MAX, Params, path_text, read_body, storable
from twofold.gateway.http.threads import Threads
from twofold.gateway.operations.instances import Instances
from twofold.gateway.operations.processes import KEY, PROCESS, process_of
from twofold.kernel.codec import encode
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Malformed
from twofold.kernel.ids import command_id_for, new_command_id
from twofold.kernel.messages import tag_of
from twofold.kernel.ports import Clock, ParkedKeys
from twofold.kernel.process import INSTANCE, AnyProcess, CancelInstance, RetryInstance
from twofold.monitoring.instances import view_of_instances

OVER = ("done", "cancelled")


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What is said with a retry or a cancellation, and stands in the log."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARS_MAX)]


class InterventionEndpoints:
    def __init__(
        self,
        domain: Domain,
        instances: Instances,
        parked: ParkedKeys,
        admission: Admission,
        board: OutcomeBoard,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._domain = domain
        self._instances = instances
        self._parked = parked
        self._admission = admission
        self._board = board
        self._clock = clock
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [
            Route("POST", "/processes/{name}/{key}/retry", self.retry, (RETRY,)),
            Route("POST", "/processes/{name}/{key}/cancel", self.cancel, (CANCEL,)),
        ]

    async def retry(self, request: web.Request) -> web.Response:
        return await self._told(request, RetryInstance)

    async def cancel(self, request: web.Request) -> web.Response:
        return await self._told(request, CancelInstance)

    async def _told(self, request: web.Request, told: type[RetryInstance | CancelInstance]) -> web.Response:
        process, key = process_of(request, self._domain), path_text(request, ROW_KEY)
        Params(request)
        preferences = preferences_of(request.headers)
        idempotency_key = printable(IDEMPOTENCY_KEY.name, request.headers.get(IDEMPOTENCY_KEY.name))
        reason = _reason(await read_body(request, COMMAND_BYTES_MAX))
        command_id = new_command_id() if idempotency_key is None else command_id_for(ANONYMOUS, idempotency_key)
        envelope = self._envelope(told(f"{process.name}/{key}", process.name, key, reason), command_id)
        if idempotency_key is None or await self._board.find(command_id) is None:  # who asks again is told what came of it
            await self._threads.run(lambda: self._require_open(process, key, told is RetryInstance))
        return await submitted(envelope, preferences, self._admission, self._board)

    def _require_open(self, process: AnyProcess, key: str, is_retry: bool) -> None:
        """Raises Problem for an instance that nothing can be done about. A parked key's retry is asked for."""
        instance, parked = self._instances.standing(process, key)
        if parked is not None:
            if is_retry:
                self._parked.request_retry(view_of_instances(process), key)
        elif instance is not None and instance.status in OVER:
            raise Problem("instance-over", f"it is {instance.status}: nothing is left to retry or to cancel")

    def _envelope(self, command: RetryInstance | CancelInstance, command_id: str) -> Envelope:
        tag, data, stream = tag_of(type(command)), encode(command), INSTANCE.stream_of(command)
        if len(stream) > STREAM_CHARS_MAX:
            raise Malformed(f"the stream's name would be longer than {STREAM_CHARS_MAX} characters", "/key")
        return Envelope(
            command_id=command_id,
            type=tag,
            stream=stream,
            data=msgspec.Raw(data),
            fingerprint=fingerprint_of(tag, data),
            accepted_at=self._clock.now(),
        )


def _reason(body: bytes) -> str:
    try:
        return storable("reason", msgspec.json.decode(body, type=Wish).reason)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f'the body is {{"reason": "…"}}: {error}', "/reason") from error


REPLIES = {
    200: Reply("Decided while you waited.", CommandStatus, ("Location", "Consistency-Token", "Preference-Applied")),
    202: Reply("Durable; decided soon.", Accepted, ("Location", "Consistency-Token")),
}
PROBLEMS = (
    "malformed",
    "unknown-process",
    "no-such-instance",
    "instance-over",
    "rejected",
    "too-slow",
    "too-large",
    *CHANGING,
    "key-reused",
    *AWAY,
)
RETRY = Operation(
    name="retryInstance",
    tag="processes",
    summary="Have an instance try again",
    description="Its calls that were given up are made again; an event of it that could not be folded is folded again.",
    parameters=(PROCESS, KEY, PREFER, IDEMPOTENCY_KEY),
    body={JSON: Wish},
    replies=REPLIES,
    problems=PROBLEMS,
)
CANCEL = Operation(
    name="cancelInstance",
    tag="processes",
    summary="Have an instance end",
    description="The process hears of it, and takes back what it has done; one that does not react to it is over at once.",
    parameters=(PROCESS, KEY, PREFER, IDEMPOTENCY_KEY),
    body={JSON: Wish},
    replies=REPLIES,
    problems=PROBLEMS,
)
