"""Commands go out in bulks, in the order of the file, and every accepted command is followed until it has an outcome.

    bulk ──> accepted ──> wait for it ──> rejected, parked: a failure
         └─> refused: a failure

Bulks leave one after another; a few of them may be undecided at a time, so the replay is never far ahead of the workers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from twofold.client import Declined, Gateway, Refused
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.messages import tag_of
from twofold.shop.online_retail.invoices import KeyedCommand

PATIENCE_SECONDS = 120.0
"""How long the gateway may be away, or busy, before the replay gives up: longer than any restart of a server."""

BULK_COMMANDS_MAX = 200
BULKS_UNDECIDED_MAX = 4
BULK_SECONDS = 0.25
"""With a rate, a bulk is what leaves in this time, so that the commands flow evenly."""

LATER = (429, 503)


class Failure(NamedTuple):
    """A command that was refused, rejected or parked."""

    invoice: str
    command_type: str
    reason: str


def replay(
    gateway: Gateway, commands: Sequence[KeyedCommand], rate: float | None, on_decided: Callable[[int], None]
) -> list[Failure]:
    """Send all commands, at most `rate` commands a second, and wait for their outcomes.

    `on_decided` is called, from several threads, with how many more are done. Raises Unavailable when the gateway stays away,
    Misconfigured when it is none; whatever ends it early closes `gateway`, and with it what is under way.
    """
    failures: list[Failure] = []
    undecided: deque[Future[list[Failure]]] = deque()
    bulk_max = BULK_COMMANDS_MAX if rate is None else min(BULK_COMMANDS_MAX, max(1, int(rate * BULK_SECONDS)))
    with ThreadPoolExecutor(BULKS_UNDECIDED_MAX, "outcomes") as threads:
        try:
            started = time.monotonic()
            sent = 0
            for bulk in _bulks(commands, bulk_max):
                if rate:
                    time.sleep(max(0.0, started + sent / rate - time.monotonic()))
                if len(undecided) == BULKS_UNDECIDED_MAX:
                    failures += undecided.popleft().result()
                accepted, refused = _send(gateway, bulk)
                failures += refused
                on_decided(len(refused))
                undecided.append(threads.submit(_follow, gateway, accepted, on_decided))
                sent += len(bulk)
            for followed in undecided:
                failures += followed.result()
        except BaseException:
            gateway.close()
            raise
    return failures


def _bulks(commands: Sequence[KeyedCommand], commands_max: int) -> Iterator[list[KeyedCommand]]:
    waiting = iter(commands)
    while bulk := list(islice(waiting, commands_max)):
        yield bulk


def _send(gateway: Gateway, bulk: Sequence[KeyedCommand]) -> tuple[dict[str, KeyedCommand], list[Failure]]:
    """Accepted commands by command id, and those refused for good."""
    accepted: dict[str, KeyedCommand] = {}
    failures: list[Failure] = []
    items = [{"type": tag_of(type(one.command)), "data": one.command, "idempotency_key": one.key} for one in bulk]
    try:
        for command, result in zip(bulk, gateway.bulk(items), strict=True):
            if result.command_id is not None:
                accepted[result.command_id] = command
            elif isinstance(result.refusal, Refused):
                if result.refusal.status in LATER:
                    raise Unavailable(Neighbour.GATEWAY, "keeps refusing commands for now", detail=str(result.refusal))
                failures.append(_failure(command, f"refused: {_said(result.refusal.problem)}"))
    except Refused as refused:
        raise _no_gateway("POST /commands", refused) from refused
    return accepted, failures


def _follow(gateway: Gateway, accepted: dict[str, KeyedCommand], on_decided: Callable[[int], None]) -> list[Failure]:
    failures: list[Failure] = []
    for command_id, command in accepted.items():
        try:
            outcome = gateway.wait(command_id, PATIENCE_SECONDS)
        except Declined as no:
            failures.append(_failure(command, f"rejected: {_said({'code': no.code, 'details': no.details})}"))
        except Refused as refused:
            raise _no_gateway(f"GET /commands/{command_id}", refused) from refused
        else:
            if not outcome.is_decided:
                raise Unavailable(Neighbour.GATEWAY, "a command has no outcome", detail=command_id)
            if outcome.status == "parked":
                failures.append(_failure(command, f"parked: {command_id}"))
        on_decided(1)
    return failures


def _failure(command: KeyedCommand, reason: str) -> Failure:
    return Failure(command.invoice, tag_of(type(command.command)), reason)


def _no_gateway(asked: str, refused: Refused) -> Misconfigured:
    return Misconfigured(f"--url: {asked} was answered {refused.status} {refused if refused.kind else ''}".rstrip())


def _said(problem: Any) -> str:
    """What a problem or a rejection says, in one line."""
    pointers = [f"{error.get('pointer')}: {error.get('detail')}" for error in problem.get("errors") or ()]
    said = [problem.get("code"), problem.get("detail") or problem.get("title"), *pointers, problem.get("details")]
    return " ".join(str(part) for part in said if part)
