"""POST /queries: several questions at once, each answered by itself, all at or after one token.

[{view, key} or {view, where, order, limit, cursor}] ──> the reads of GET, side by side ──> [{status, row or items or problem}]

It changes nothing. A question that is refused, or not answered in time, has a problem in its place; its neighbours go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.headers import PREFER, TOKEN, media_type_of
from twofold.gateway.http.operation import AWAY, CHANGING, COUNT, JSON, OBJECT, TEXT, Operation, Reply, Route
from twofold.gateway.http.problem import Problem, note_refusal, problem_of
from twofold.gateway.http.refusals import Refusals
from twofold.gateway.http.request import COMMAND_BYTES_MAX, read_body, storable
from twofold.gateway.queries.endpoints import Answered, Freshness, ViewEndpoints, freshness_of
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Malformed

QUESTIONS_MAX = 20

_decode = msgspec.json.Decoder(list[Any]).decode


class Asked(dict[str, str]):
    """Parameters that were written as JSON: what would stand behind the question mark of GET /views/{view}."""

    @property
    def query(self) -> Asked:
        return self

    def getall(self, name: str, default: Sequence[str] = ()) -> Sequence[str]:
        return [self[name]] if name in self else default


class CompositeEndpoint:
    def __init__(self, domain: Domain, views: ViewEndpoints, refusals: Refusals) -> None:
        self._domain = domain
        self._views = views
        self._refusals = refusals

    def routes(self) -> Iterable[Route]:
        return [Route("POST", "/queries", self.post, (_operation(self._domain),))]

    async def post(self, request: web.Request) -> web.Response:
        media_type_of(request.headers, JSON)
        fresh = freshness_of(request)
        questions = _questions(await read_body(request, COMMAND_BYTES_MAX))
        answers = await asyncio.gather(*(self._answer(question, fresh) for question in questions))
        headers = {"Cache-Control": "no-store"}
        if applied := fresh.preferences.applied():
            headers["Preference-Applied"] = applied
        return web.Response(body=encode(answers), content_type=JSON, headers=headers)

    async def _answer(self, question: Any, fresh: Freshness) -> dict[str, Any]:
        try:
            answered = await self._asked(question, fresh)
        except Exception as error:
            return self._refused(error)
        body, headers = answered.body, answered.headers
        told = {"etag": headers["ETag"], "row": body} if "ETag" in headers else body
        return {"status": answered.status} | _standing(headers) | told

    async def _asked(self, question: Any, fresh: Freshness) -> Answered:
        if not isinstance(question, dict):
            raise Malformed("a question is an object of view and key, or of view, where, order, limit and cursor")
        name = question.pop("view", None)
        view = self._domain.views.get(name) if isinstance(name, str) else None
        if view is None:
            raise Problem("unknown-view", f"those there are: {', '.join(self._domain.views)}")
        if "key" not in question:
            return await self._views.page(view, self._views.query_of(_parameters(question), view), fresh)
        key = question.pop("key")
        if question or not isinstance(key, str) or not key:
            raise Malformed("beside a view and its key, a text, nothing is asked", "/key")
        return await self._views.row(view, storable("key", key), fresh)

    def _refused(self, error: Exception) -> dict[str, Any]:
        problem = problem_of(error)
        if problem is None:
            structlog.get_logger("gateway").error("bug", method="POST", route="/queries", exc_info=error)
            problem = Problem("bug", "this is our fault, and it is in our log")
        note_refusal(self._refusals, problem)
        return {"status": problem.status, "problem": problem.document()} | _standing(problem.headers)


def _standing(headers: Mapping[str, str]) -> dict[str, Any]:
    """Where the view stands that was asked, as far as it was."""
    if "View-Position" not in headers:
        return {}
    return {"position": int(headers["View-Position"]), "lag": float(headers["View-Lag"])}


def _questions(body: bytes) -> list[Any]:
    """Raises Malformed for what is no array, or has too many questions."""
    try:
        questions = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a JSON array of questions: {error}") from error
    if len(questions) > QUESTIONS_MAX:
        raise Malformed(f"{len(questions)} questions; at most {QUESTIONS_MAX} are answered at once")
    return questions


def _parameters(question: dict[str, Any]) -> Asked:
    """The fields of `where` are parameters like the others. Raises Malformed."""
    where = question.pop("where", {})
    if not isinstance(where, dict) or not where.keys().isdisjoint(question):
        raise Malformed("where is an object of declared indexes, and ranges of declared orders, to their values", "/where")
    given = {name: value for name, value in question.items() if value is not None}
    return Asked({name: _text(name, value) for name, value in (given | where).items()})


def _text(name: str, value: Any) -> str:
    """As it would stand in a query string."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        raise Malformed(f"{storable('a parameter', name)!r} is a text, a number, true or false", f"/{name}")
    return msgspec.json.encode(value).decode()


def _operation(domain: Domain) -> Operation:
    view = {"type": "string", "enum": list(domain.views)}
    value = {"type": ["string", "number", "boolean"]}
    one = {
        "type": "object",
        "required": ["view", "key"],
        "additionalProperties": False,
        "properties": {"view": view, "key": TEXT},
    }
    many = {
        "type": "object",
        "required": ["view"],
        "properties": {
            "view": view,
            "where": {"type": "object", "additionalProperties": value},
            "order": TEXT,
            "limit": {"type": "integer", "minimum": 1},
            "cursor": TEXT,
        },
        "not": {"required": ["key"]},
    }
    answer = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "integer"},
            "position": COUNT,
            "lag": {"type": "number"},
            "etag": TEXT,
            "row": OBJECT,
            "items": {"type": "array", "items": OBJECT},
            "next": {"type": ["string", "null"]},
            "problem": OBJECT,
        },
    }
    return Operation(
        name="queries",
        tag="views",
        summary=f"Up to {QUESTIONS_MAX} questions at once; each is answered or refused by itself",
        description="Each answer has the status that GET would have, and row, or items and next, or problem.",
        parameters=(TOKEN, PREFER),
        body={JSON: {"type": "array", "maxItems": QUESTIONS_MAX, "items": {"anyOf": [one, many]}}},
        replies={200: Reply("One answer each, in order.", {"type": "array", "items": answer}, ("Preference-Applied",))},
        problems=("malformed", "too-slow", "too-large", *CHANGING, *AWAY),
    )
