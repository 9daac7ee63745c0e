"""Errors as RFC 9457 problems, in one place: what each type means, and how every exception becomes one.

The middleware is the only thing that turns an exception into an answer. A problem is an answer, not a sixth error: the
rooms raise the kernel's five, the gateway adds what only HTTP knows (a missing row, a wrong media type, a stale view).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from twofold.gateway.http.operation import Call
from twofold.gateway.http.refusals import Refusals
from twofold.kernel.errors import Conflict, Malformed, Neighbour, Rejected, TooMuchToFold, Unavailable

MEDIA_TYPE = "application/problem+json"
REFUSED = (429, 503)

_encode = msgspec.json.Encoder().encode


class ProblemType(NamedTuple):
    """Stable. Its address is `/problems/{name}`, which the gateway serves."""

    name: str
    status: int
    title: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    problem_type.name: problem_type
    for problem_type in (
        ProblemType("malformed", 400, "The request is not understood"),
        ProblemType("internal-command", 403, "Only processes send this command"),
        ProblemType("cross-site", 403, "A page of another site may not ask for this"),
        ProblemType("not-found", 404, "There is nothing at this address"),
        ProblemType("unknown-command", 404, "There is no such command"),
        ProblemType("unknown-view", 404, "There is no such view"),
        ProblemType("no-such-row", 404, "The view has no such row"),
        ProblemType("no-such-command-id", 404, "No command can have this id"),
        ProblemType("no-such-stream", 404, "There is no such stream, or not that much of it"),
        ProblemType("no-rebuild", 404, "The view has not been rebuilt"),
        ProblemType("unknown-process", 404, "There is no such process"),
        ProblemType("no-such-instance", 404, "The process has no such instance"),
        ProblemType("not-parked", 404, "Nothing is parked under this name"),
        ProblemType("no-such-letter", 404, "There is no such dead letter"),
        ProblemType("method-not-allowed", 405, "The method does not apply here"),
        ProblemType("too-slow", 408, "The body did not arrive in time"),
        ProblemType("rejected", 409, "The domain says no"),
        ProblemType("conflict", 409, "Somebody else was faster"),
        ProblemType("cannot-rebuild", 409, "The view cannot be rebuilt now"),
        ProblemType("cannot-resize", 409, "The lanes cannot be changed now"),
        ProblemType("instance-over", 409, "The instance has ended"),
        ProblemType("stream-moved", 412, "The stream is not at the expected version"),
        ProblemType("too-large", 413, "The body is too large"),
        ProblemType("unsupported-media-type", 415, "The body's media type is not accepted here"),
        ProblemType("unknown-host", 421, "The gateway does not answer under this host name"),
        ProblemType("too-much-to-fold", 422, "The row is made of more than is folded while somebody waits"),
        ProblemType("key-reused", 422, "The idempotency key belongs to another body"),
        ProblemType("http", 400, "The request cannot be answered"),
        ProblemType("bug", 500, "The gateway has a bug"),
        ProblemType("unavailable", 503, "A part of the system does not answer"),
        ProblemType("overloaded", 429, "There is more to do than can be done now: overload"),
        ProblemType("view-behind", 503, "The view has not got there yet"),
    )
}


class Problem(Exception):
    """An answer that is not the one hoped for. `members` are the problem's own fields beside the standard ones.

    `cause` says who kept it from being the one hoped for, where somebody did: a 503 is logged and counted by it.
    """

    def __init__(
        self,
        type_name: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        cause: Unavailable | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.type = PROBLEM_TYPES[type_name]
        self.status = self.type.status
        self.detail = detail
        self.headers = dict(headers or {})
        self.cause = cause
        self.members = members

    def document(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        named = {"type": f"/problems/{self.type.name}", "title": self.type.title, "status": self.status, "detail": self.detail}
        return named | self.members

    def response(self) -> web.Response:
        response = web.Response(body=_encode(self.document()), status=self.status, content_type=MEDIA_TYPE, headers=self.headers)
        if self.headers.get("Connection") == "close":
            response.force_close()
        return response


def problem_of(error: Exception) -> Problem | None:
    """The problem that says what this error means to a client; None for a bug."""
    match error:
        case Problem():
            return error
        case TooMuchToFold():
            return Problem("too-much-to-fold", error.detail)
        case Malformed():
            return Problem("malformed", error.detail, errors=[{"pointer": error.pointer, "detail": error.detail}])
        case Rejected():
            return Problem("rejected", error.code, code=error.code, details=error.details)
        case Unavailable():
            return unavailable(error)
        case Conflict():
            return Problem("conflict", "please try again")
        case web.HTTPRequestEntityTooLarge():
            return Problem("too-large", "send less at a time")
        case web.HTTPException():
            return _of_aiohttp(error)
        case web.RequestPayloadError():
            return Problem("malformed", "the body breaks off or is wrongly framed", {"Connection": "close"})
        case _:
            return None


def unavailable(error: Unavailable, **members: Any) -> Problem:
    """What this error means to a client, and the problem's own fields."""
    seconds = max(1, math.ceil(error.retry_after_seconds))
    detail = f"{error.neighbour.value}: {error.reason}; please try again"
    return Problem("overloaded" if error.is_overload else "unavailable", detail, {"Retry-After": str(seconds)}, error, **members)


def answer_problems(refusals: Refusals, check: Callable[[web.Request], None]) -> Middleware:
    """What `check` raises nothing for is handled, and every exception becomes a problem; a bug becomes one without inner detail,
    and is loud in the log. While the gateway closes, an answer is the last on its connection, and says so."""

    @web.middleware
    async def answer(request: web.Request, **following: Call) -> web.StreamResponse:
        response = await answered(request, **following)
        if refusals.is_closing:
            response.force_close()
        return response

    async def answered(request: web.Request, **following: Call) -> web.StreamResponse:
        try:
            check(request)
            return await following["handler"](request)  # aiohttp passes what follows under this name
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _of_aiohttp(error).response()
        except Exception as error:
            if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                raise  # the client has gone, before it had sent all or was answered
            return _answer_to(error, request, refusals)

    return cast(Middleware, answer)


def _answer_to(error: Exception, request: web.Request, refusals: Refusals) -> web.Response:
    """In a frame that the error did not pass: one that both names it and is in its traceback is garbage that only a search of all
    memory finds, and with it all that belongs to the request."""
    problem = problem_of(error)
    if problem is None:
        resource = request.match_info.route.resource
        where = resource.canonical if resource else "?"
        structlog.get_logger("gateway").error("bug", method=request.method, route=where, exc_info=error)
        problem = Problem("bug", "this is our fault, and it is in our log")
    note_refusal(refusals, problem)
    return problem.response()


async def answer_before_routes(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], request: web.BaseRequest
) -> web.StreamResponse:
    """aiohttp refuses some requests before any middleware: what is expected, where there is no route."""
    try:
        return await handle(request)
    except web.HTTPException as error:
        problem = problem_of(error)
        assert problem is not None, "every answer of aiohttp's is one"
        response = problem.response()
        response.force_close()  # the body is not read
        return response


async def answer_expectation(request: web.Request) -> web.StreamResponse | None:
    """What a client expects before it sends its body: that it may send it. Nothing else can be expected here."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
        return None
    problem = Problem("http", "nothing but 100-continue can be expected", {"Connection": "close"})
    problem.status = 417
    return problem.response()


def note_refusal(refusals: Refusals, problem: Problem) -> None:
    """Every 429 and 503 is logged and counted, one that names nobody as our own."""
    if problem.status in REFUSED:
        refusals.note(problem.cause or Unavailable(Neighbour.GATEWAY, problem.type.name))


def _of_aiohttp(error: web.HTTPException) -> Problem:
    """aiohttp's own refusals (no route, wrong method) keep their status and the headers that mean something."""
    names = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    problem = Problem(names.get(error.status, "http"), error.reason, headers)
    problem.status = error.status
    return problem
