"""Commands go out in bulks, in the order of the file, and every accepted command is followed until it has an outcome.

    bulk ──> POST /commands ──> refused now: a failure, or sent again when the gateway only said "later"
                     └────────> accepted ──> GET /commands/{id} ──> rejected, parked: a failure

Bulks leave one after another; a few of them may be undecided at a time, so the replay is never far ahead of the workers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any, NamedTuple

import msgspec

from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.messages import tag_of
from twofold.shop.online_retail.api import AGAIN, PATIENCE_SECONDS, PAUSE_SECONDS_MAX, Api
from twofold.shop.online_retail.invoices import KeyedCommand

BULK_COMMANDS_MAX = 200
BULK_BYTES_MAX = 1 << 20
BULKS_UNDECIDED_MAX = 4
BULK_SECONDS = 0.25
"""With a rate, a bulk is what leaves in this time, so that the commands flow evenly."""

OUTCOME_WAIT_SECONDS = 5


class Failure(NamedTuple):
    """A command that was refused, rejected or parked."""

    invoice: str
    command_type: str
    reason: str


def replay(
    url: str, commands: Sequence[KeyedCommand], rate: float | None, stop: Event, on_decided: Callable[[int], None]
) -> list[Failure]:
    """Send all commands, at most `rate` commands a second, and wait for their outcomes.

    `on_decided` is called, from several threads, with how many more are done. Raises Unavailable when the API stays away or
    `stop` is set, Misconfigured when it is no such API.
    """
    failures: list[Failure] = []
    undecided: deque[Future[list[Failure]]] = deque()
    bulk_max = BULK_COMMANDS_MAX if rate is None else min(BULK_COMMANDS_MAX, max(1, int(rate * BULK_SECONDS)))
    with Api(url, stop) as api, ThreadPoolExecutor(BULKS_UNDECIDED_MAX, "outcomes") as threads:
        try:
            started = time.monotonic()
            sent = 0
            for bulk in _bulks(commands, bulk_max):
                if rate and api.pause(max(0.0, started + sent / rate - time.monotonic())):
                    raise Unavailable(Neighbour.GATEWAY, "the replay was stopped")
                if len(undecided) == BULKS_UNDECIDED_MAX:
                    failures += undecided.popleft().result()
                accepted, refused = _send(api, bulk)
                failures += refused
                on_decided(len(refused))
                undecided.append(threads.submit(_follow, url, stop, accepted, on_decided))
                sent += len(bulk)
            for followed in undecided:
                failures += followed.result()
        except BaseException:
            stop.set()
            raise
    return failures


def _bulks(commands: Sequence[KeyedCommand], commands_max: int) -> Iterator[list[tuple[KeyedCommand, bytes]]]:
    """Each command with its line of NDJSON."""
    bulk: list[tuple[KeyedCommand, bytes]] = []
    size = 0
    for command in commands:
        item = {"type": tag_of(type(command.command)), "data": command.command, "idempotency_key": command.key}
        line = msgspec.json.encode(item) + b"\n"
        if bulk and (len(bulk) == commands_max or size + len(line) > BULK_BYTES_MAX):
            yield bulk
            bulk, size = [], 0
        bulk.append((command, line))
        size += len(line)
    if bulk:
        yield bulk


def _send(api: Api, bulk: list[tuple[KeyedCommand, bytes]]) -> tuple[dict[str, KeyedCommand], list[Failure]]:
    """Accepted commands by command id, and those refused for good."""
    accepted: dict[str, KeyedCommand] = {}
    failures: list[Failure] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while bulk:
        body = b"".join([line for _, line in bulk])
        answer = api.call("POST", "/commands", body, {"Content-Type": "application/x-ndjson"})
        if answer.status != 202 or not isinstance(answer.body, dict):
            raise Misconfigured(f"--url: POST /commands was answered {answer.status} {_said(answer.body)}".rstrip())
        accepted |= {item["command_id"]: bulk[item["index"]][0] for item in answer.body["accepted"]}
        later: list[tuple[KeyedCommand, bytes]] = []
        for item in answer.body["refused"]:
            command, problem = bulk[item["index"]][0], item["problem"]
            if problem.get("status") in AGAIN:
                later.append(bulk[item["index"]])
            else:
                failures.append(Failure(command.invoice, tag_of(type(command.command)), f"refused: {_said(problem)}"))
        if later and (time.monotonic() > deadline or api.pause(PAUSE_SECONDS_MAX / 10)):
            raise Unavailable(Neighbour.GATEWAY, "keeps refusing commands for now")
        bulk = later
    return accepted, failures


def _follow(url: str, stop: Event, accepted: Mapping[str, KeyedCommand], on_decided: Callable[[int], None]) -> list[Failure]:
    failures: list[Failure] = []
    with Api(url, stop) as api:
        for command_id, command in accepted.items():
            outcome = _outcome(api, command_id)
            if outcome["status"] not in ("succeeded", "ignored"):
                rejection = outcome.get("rejection") or {}
                reason = f"{outcome['status']}: {_said(rejection) or command_id}"
                failures.append(Failure(command.invoice, tag_of(type(command.command)), reason))
            on_decided(1)
    return failures


def _outcome(api: Api, command_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer = api.call("GET", f"/commands/{command_id}", headers={"Prefer": f"wait={OUTCOME_WAIT_SECONDS}"})
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise Misconfigured(f"--url: GET /commands/{command_id} was answered {answer.status}")
        if answer.body["status"] != "pending":
            outcome: dict[str, Any] = answer.body
            return outcome
    raise Unavailable(Neighbour.GATEWAY, "a command has no outcome", detail=command_id)


def _said(problem: Any) -> str:
    """What a problem or a rejection says, in one line."""
    if not isinstance(problem, dict):
        return ""
    pointers = [f"{error.get('pointer')}: {error.get('detail')}" for error in problem.get("errors") or ()]
    said = [problem.get("code"), problem.get("detail") or problem.get("title"), *pointers, problem.get("details")]
    return " ".join(str(part) for part in said if part)
