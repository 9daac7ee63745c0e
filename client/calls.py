"""Every call whose answers come whole, as steps: what is asked, what is asked again, and what the answer means."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from random import random
from typing import Any

import msgspec

from twofold.client.answers import CommandAnswer, ItemAnswered, PageAnswer, PageBody, RowAnswer, answer_to, standing, understood
from twofold.client.refusals import Declined, Refused, ViewBehind, later_of, refusal_of
from twofold.client.said import Manner, Question, Token, Where, named, new_key, pairs_of, path_of, prefer_of, query_of, token_of
from twofold.client.steps import Ask, Give, Headers, Heard, Pause, Steps, T
from twofold.kernel.backoff import Backoff
from twofold.kernel.errors import Unavailable
from twofold.kernel.messages import Command

PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 5.0


class Patience:
    """How long one thing is tried again: `seconds` from its first failure on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._backoff = Backoff(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX)
        self._until: float | None = None

    def after(self, why: Unavailable) -> Pause:
        """As long as was asked for, or longer each time; not all clients at once. Raises `why` when that is too long."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        pause_seconds = max(why.retry_after_seconds, self._backoff.failed() * (0.5 + random() / 2))
        if now + pause_seconds > self._until:
            raise why
        return Pause(pause_seconds)

    def restored(self) -> None:
        self._backoff.succeeded()
        self._until = None


def answered(ask: Ask, patience_seconds: float) -> Steps[Heard]:
    """The first answer that does not say "later". For what may be asked twice. Raises Unavailable."""
    patience = Patience(patience_seconds)
    while True:
        try:
            heard: Heard = yield ask
            why = later_of(ask, heard)
            if why is None:
                return heard
        except Unavailable as lost:
            why = lost
        yield patience.after(why)


def call(
    manner: Manner,
    method: str,
    path: str,
    body: object,
    headers: Mapping[str, str] | None,
    timeout_seconds: float | None,
    is_repeatable: bool | None,
) -> Steps[Any]:
    if timeout_seconds is not None:
        manner = msgspec.structs.replace(manner, timeout_seconds=timeout_seconds)
    ask = manner.ask(method, path, headers, None if body is None else msgspec.json.encode(body))
    is_patient = method == "GET" if is_repeatable is None else is_repeatable
    heard = yield from answered(ask, manner.patience_seconds if is_patient else 0.0)
    return understood(ask, heard, object)


def send(
    manner: Manner,
    command: str | Command,
    data: object,
    idempotency_key: str | None,
    expected_version: int | None,
    wait_seconds: float | None,
) -> Steps[CommandAnswer]:
    tag, body = named(command, data)
    headers = {"Idempotency-Key": idempotency_key or new_key()} | prefer_of(wait_seconds)
    if expected_version is not None:
        headers["If-Match"] = f'"{expected_version}"'
    until = _until(wait_seconds)
    ask = manner.ask("POST", path_of("commands", tag), headers, body, wait_seconds or 0.0)
    answer = understood(ask, (yield from answered(ask, manner.patience_seconds)), CommandAnswer)
    # A gateway waits for 30 s at most, and for less when it is told to stop: the rest is waited for at whichever comes.
    if wait_seconds is not None and not answer.is_decided and time.monotonic() < until:
        later = yield from _decided(manner, answer.command_id, until)
        answer = later if later.is_decided else answer
    return _unless_declined(answer)


def wait(manner: Manner, command_id: str, seconds: float) -> Steps[CommandAnswer]:
    return _unless_declined((yield from _decided(manner, command_id, _until(seconds))))


def outcome(manner: Manner, command_id: str, wait_seconds: float | None = None) -> Steps[CommandAnswer]:
    ask = manner.ask("GET", path_of("commands", command_id), prefer_of(wait_seconds), seconds=wait_seconds or 0.0)
    return understood(ask, (yield from answered(ask, manner.patience_seconds)), CommandAnswer)


def get(manner: Manner, view: str, key: str, after: Token | None, wait_seconds: float | None, lenient: bool) -> Steps[RowAnswer]:
    path = path_of("views", view, key)
    row, headers = yield from _read(manner, path, after, wait_seconds, lenient, dict[str, Any], absent="no-such-row")
    return RowAnswer(row, *standing(headers), headers.get("etag"))


def page(
    manner: Manner,
    view: str,
    where: Where | None,
    order: str | None,
    limit: int | None,
    cursor: str | None,
    after: Token | None,
    wait_seconds: float | None,
    lenient: bool,
) -> Steps[PageAnswer]:
    path = path_of("views", view) + query_of(where, order=order, limit=limit, cursor=cursor)
    body, headers = yield from _read(manner, path, after, wait_seconds, lenient, PageBody)
    assert body is not None, "nothing is there in place of a page"
    return PageAnswer(body.items, body.next, *standing(headers))


def queries(
    manner: Manner, questions: Iterable[Question], after: Token | None, wait_seconds: float | None, lenient: bool
) -> Steps[list[RowAnswer | PageAnswer | Refused]]:
    asked = [{**one, "where": dict(pairs_of(one["where"]))} if one.get("where") else one for one in questions]
    body, until, left = msgspec.json.encode(asked), _until(wait_seconds), wait_seconds
    while True:
        ask = manner.ask("POST", path_of("queries"), token_of(after) | prefer_of(left, lenient), body, left or 0.0)
        heard = yield from answered(ask, manner.patience_seconds)
        answers = [answer_to(one) for one in understood(ask, heard, list[ItemAnswered])]
        left = until - time.monotonic()
        if left <= 0 or not any(isinstance(one, ViewBehind) for one in answers):
            return answers
        yield Pause(min(left, PAUSE_SECONDS_MIN))


def pages(
    manner: Manner,
    view: str,
    where: Where | None,
    order: str | None,
    limit: int | None,
    after: Token | None,
    wait_seconds: float | None,
    lenient: bool,
) -> Steps[None]:
    cursor: str | None = None
    while True:
        one = yield from page(manner, view, where, order, limit, cursor, after, wait_seconds, lenient)
        yield Give(one)
        cursor = one.next
        if cursor is None:
            return


def _read(
    manner: Manner,
    path: str,
    after: Token | None,
    wait_seconds: float | None,
    lenient: bool,
    shape: type[T],
    absent: str = "",
) -> Steps[tuple[T | None, Headers]]:
    """The body of a good answer, or None for the problem that says that nothing is there: `absent`; and the answer's headers."""
    until = _until(wait_seconds)
    left = wait_seconds
    while True:
        ask = manner.ask("GET", path, token_of(after) | prefer_of(left, lenient), seconds=left or 0.0)
        heard = yield from answered(ask, manner.patience_seconds)
        if heard.status == 200:
            return understood(ask, heard, shape), heard.headers
        refused = refusal_of(ask, heard)
        if absent and refused.kind == absent:
            return None, heard.headers
        left = until - time.monotonic()
        if not isinstance(refused, ViewBehind) or left <= 0:
            raise refused
        yield Pause(min(left, PAUSE_SECONDS_MIN))


def _decided(manner: Manner, command_id: str, until: float) -> Steps[CommandAnswer]:
    """With its outcome, or without when the time is over."""
    while True:
        left = until - time.monotonic()
        answer = yield from outcome(manner, command_id, max(0.0, left))
        if answer.is_decided or time.monotonic() >= until:
            return answer
        yield Pause(PAUSE_SECONDS_MIN)


def _until(seconds: float | None) -> float:
    return time.monotonic() + (seconds or 0.0)


def _unless_declined(answer: CommandAnswer) -> CommandAnswer:
    """What `POST` says with 409, `GET` says with a status."""
    if answer.status == "rejected":
        raise Declined({"title": "The domain says no", "status": 409, "type": "/problems/rejected"} | _said(answer))
    return answer


def _said(answer: CommandAnswer) -> dict[str, Any]:
    rejection = answer.rejection or {}
    code = rejection.get("code", "")
    return {"detail": code, "code": code, "details": rejection.get("details", {}), "command_id": answer.command_id}
