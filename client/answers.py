"""What a gateway answers, as its callers get it. Fields that a later version adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from twofold.client.refusals import Refused, refusal, refusal_of
from twofold.client.steps import Ask, Headers, Heard
from twofold.kernel.errors import Unavailable

T = TypeVar("T")

DECIDED = ("succeeded", "ignored", "rejected", "parked")


class CommandEvent(msgspec.Struct, frozen=True):
    """One event of a command: its place in the log, its place in its stream, and its type."""

    position: int
    version: int
    type: str


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a command. `status` is `accepted` or `pending` (durable, no outcome yet), `succeeded`, `ignored`,
    `rejected` or `parked`.

    `command_id` is the token for reading one's own write: `get(…, after=answer.command_id)`. `version` and `position` are those
    of its last event; `rejection` is `{"code": …, "details": {…}}`; `reason` says why a parked one could not be decided.
    `type`, `stream` and `accepted_at` are None where the gateway that was asked was not told.
    """

    command_id: str
    type: str | None = None
    stream: str | None = None
    status: str
    version: int | None = None
    position: int | None = None
    events: list[CommandEvent] | None = None
    rejection: dict[str, Any] | None = None
    reason: str | None = None
    accepted_at: datetime | None = None
    decided_at: datetime | None = None

    @property
    def is_decided(self) -> bool:
        return self.status in DECIDED


class BulkResult(msgspec.Struct, frozen=True):
    """What became of one item of a bulk, by its index from 0: it has either a `command_id` (it is durable), or a `refusal`.

    The refusal is not raised: a Refused says that the item is not accepted as it is, or was put off for longer than the client
    has patience (status 429 or 503); an Unavailable, that nothing is known of it. Either may be sent again under its
    `idempotency_key`.
    """

    index: int
    idempotency_key: str
    command_id: str | None = None
    refusal: Refused | Unavailable | None = None


class RowAnswer(msgspec.Struct, frozen=True):
    """One row as a JSON object, None when there is none. The view had been folded up to `position`, and was then `lag_seconds`
    behind the log. `etag` changes with the row."""

    row: dict[str, Any] | None
    position: int
    lag_seconds: float
    etag: str | None = None


class PageAnswer(msgspec.Struct, frozen=True):
    """Rows in the order asked for. `next` is the cursor of the page after it, None on the last one. Else as RowAnswer."""

    items: list[dict[str, Any]]
    next: str | None
    position: int
    lag_seconds: float


class LoggedEvent(msgspec.Struct, frozen=True):
    """One fact, as it was written. `version` is its place in its stream; `meta` names command, correlation and principal."""

    position: int
    stream: str
    version: int
    type: str
    data: dict[str, Any]
    meta: dict[str, Any]
    recorded_at: datetime


class ItemTaken(msgspec.Struct):
    """One item of a bulk, by its index in the array that was sent."""

    index: int
    command_id: str


class ItemRefused(msgspec.Struct):
    index: int
    problem: dict[str, Any]


class BulkBody(msgspec.Struct):
    accepted: list[ItemTaken]
    refused: list[ItemRefused]


class ItemAnswered(msgspec.Struct):
    """One of several answers: a row, a page, or a problem."""

    status: int
    position: int = 0
    lag: float = 0.0
    row: dict[str, Any] | None = None
    etag: str | None = None
    items: list[dict[str, Any]] | None = None
    next: str | None = None
    problem: dict[str, Any] | None = None


def answer_to(answered: ItemAnswered) -> RowAnswer | PageAnswer | Refused:
    """As `get` or `page` would give or raise it."""
    problem = answered.problem
    if problem is not None and not str(problem.get("type", "")).endswith("/no-such-row"):
        return refusal(problem)
    if answered.items is not None:
        return PageAnswer(answered.items, answered.next, answered.position, answered.lag)
    return RowAnswer(answered.row, answered.position, answered.lag, answered.etag)


class PageBody(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


def understood(ask: Ask, heard: Heard, shape: type[T]) -> T:
    """The body of a good answer. Raises Refused for any other, and for what no gateway would say."""
    if not 200 <= heard.status < 300:
        raise refusal_of(ask, heard)
    try:
        return msgspec.json.decode(heard.body or b"{}", type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refusal_of(ask, heard) from error


def standing(headers: Headers) -> tuple[int, float]:
    """Position and lag in seconds of the view that answered; 0 of a server that does not say."""
    try:
        return int(headers.get("view-position") or 0), float(headers.get("view-lag") or 0.0)
    except ValueError:
        return 0, 0.0
