"""GET /views/{view}/{key} and GET /views/{view}?{index}={value}&{order}.from={value}: rows, fresh enough for whoever asks.

token, Prefer ──> ConsistentReads ──> row or page ──> View-Position, View-Lag, ETag; or 503 view-behind
Accept: text/event-stream ──> the same reads, again at every hint (changes.py)
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.headers import (
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    PREFER,
    TOKEN,
    WAIT_SECONDS_DEFAULT,
    Preferences,
    Token,
    is_seen,
    preferences_of,
    token_of,
    wants_events,
)
from twofold.gateway.http.operation import AWAY, EVENT_STREAM, JSON, Operation, Reply, Route
from twofold.gateway.http.problem import Problem, problem_of, unavailable
from twofold.gateway.http.request import ROW_KEY, HasQuery, Params, path_text, view_of
from twofold.gateway.queries.changes import ChangingAnswers
from twofold.gateway.queries.consistency import ConsistentReads, ViewReading
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.questions import Declared, body_of, declared_by, page_shape, query_of
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import Query
from twofold.kernel.view import AnyView
from twofold.readmodels.live.store import not_listed

RETRY_SECONDS = "1"
PAGE_HEADERS = ("View-Position", "View-Lag", "Link", "Preference-Applied")

ObserveQuery = Callable[[str, int, float], None]
"""Told the view, the HTTP status and the seconds of every query."""


REASONS = {"pending": "command undecided", "behind": "view behind", "parked": "row parked", "diverged": "view diverged"}
"""What a 503 view-behind is counted as, by its state."""

TOLD = {
    "parked": "what this token stands for is parked because of a bug, or behind what is; see `twofold parked list`",
    "diverged": "the view shows what the log has lost, and has to be folded anew; see `twofold doctor`",
}
"""What it says where trying again does not help."""


class Freshness(NamedTuple):
    """What the answer has to show, and how long it is waited for."""

    token: Token | None
    preferences: Preferences
    wait_seconds: float


class Answered(NamedTuple):
    """A row or a page, and what is said of it: View-Position, View-Lag, of a row its ETag. 304: the asker has the row."""

    body: Any
    headers: dict[str, str]
    status: int = 200


class ViewEndpoints:
    def __init__(
        self, domain: Domain, reads: ConsistentReads, lag: LagReports, changes: ChangingAnswers, observe_query: ObserveQuery
    ) -> None:
        self._domain = domain
        self._reads = reads
        self._lag = lag
        self._changes = changes
        self._observe_query = observe_query
        self._declared = {name: declared_by(view) for name, view in domain.views.items()}

    def routes(self) -> Iterable[Route]:
        views = self._domain.views.values()
        return [
            Route("GET", "/views/{view}/{key}", self.get_row, tuple(_row_operation(view) for view in views)),
            Route(
                "GET",
                "/views/{view}",
                self.get_page,
                tuple(_page_operation(view, self._declared[view.name]) for view in views if view.is_stored),
            ),
        ]

    async def get_row(self, request: web.Request) -> web.StreamResponse:
        view = view_of(request, self._domain)
        Params(request)
        key = path_text(request, ROW_KEY)
        if wants_events(request.method, request.headers):
            await self._require_reached(request, view, lambda token, seconds: self._reads.row(view, key, token, seconds))
            return await self._changes.row(request, view, key)
        answered = await self.row(view, key, freshness_of(request), request.headers.get("If-None-Match"))
        if answered.status == 304:
            return web.Response(status=304, headers=answered.headers)
        return web.Response(body=encode(answered.body), content_type=JSON, headers=answered.headers)

    async def get_page(self, request: web.Request) -> web.StreamResponse:
        view = view_of(request, self._domain)
        query = self.query_of(request, view)
        if wants_events(request.method, request.headers):
            await self._require_reached(request, view, lambda token, seconds: self._reads.page(view, query, token, seconds))
            return await self._changes.page(request, view, query)
        answered = await self.page(view, query, freshness_of(request))
        if (cursor := answered.body["next"]) is not None:
            answered.headers["Link"] = f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'
        return web.Response(body=encode(answered.body), content_type=JSON, headers=answered.headers)

    def query_of(self, request: HasQuery, view: AnyView) -> Query:
        """The question that these parameters ask. Raises Malformed."""
        if not view.is_stored:
            raise not_listed(view.name)
        return query_of(request, view, self._declared[view.name])

    async def row(self, view: AnyView, key: str, fresh: Freshness, if_none_match: str | None = None) -> Answered:
        """Raises Problem, Unavailable."""
        return await self._observed(view, lambda: self._row(view, key, fresh, if_none_match))

    async def page(self, view: AnyView, query: Query, fresh: Freshness) -> Answered:
        """Raises Problem, Unavailable, Malformed."""
        return await self._observed(view, lambda: self._page(view, query, fresh))

    async def _require_reached(
        self, request: web.Request, view: AnyView, read: Callable[[Token, float], Awaitable[ViewReading[Any]]]
    ) -> None:
        """An event stream begins with what its token stands for. Raises Problem view-behind, before it has begun."""
        token = token_of(request.headers)
        if token is not None:
            _, preferences, wait_seconds = freshness_of(request)
            self._headers(view, await read(token, wait_seconds), preferences)

    async def _row(self, view: AnyView, key: str, fresh: Freshness, if_none_match: str | None) -> Answered:
        reading = await self._reads.row(view, key, fresh.token, fresh.wait_seconds)
        headers = self._headers(view, reading, fresh.preferences)
        row = reading.answer.row
        if row is None:
            raise Problem("no-such-row", "none is under this key", headers)
        headers["ETag"] = etag = f'"{reading.answer.slice.generation}-{row.position}"'
        return Answered(row.value, headers, 304 if is_seen(if_none_match, etag) else 200)

    async def _page(self, view: AnyView, query: Query, fresh: Freshness) -> Answered:
        reading = await self._reads.page(view, query, fresh.token, fresh.wait_seconds)
        headers = self._headers(view, reading, fresh.preferences)
        page = reading.answer
        return Answered(body_of(page), headers)

    def _headers(self, view: AnyView, reading: ViewReading[Any], preferences: Preferences) -> dict[str, str]:
        """Raises Problem view-behind for a reading that does not show what it should, unless stale is good enough."""
        position = reading.answer.position
        if not reading.is_reached and not preferences.is_lenient:
            raise Problem(
                "view-behind",
                TOLD.get(reading.state, "the view does not show yet what this token stands for; please try again"),
                {"Retry-After": RETRY_SECONDS},
                Unavailable(Neighbour.ROWS, REASONS[reading.state], detail=view.name),
                view=view.name,
                required=reading.required,
                position=position,
                state=reading.state,
            )
        headers = {
            "View-Position": str(position),
            "View-Lag": f"{self._lag.seconds(view.name, position):.3f}",
            "Cache-Control": "no-cache",
        }
        if preferences.applied():
            headers["Preference-Applied"] = preferences.applied()
        return headers

    async def _observed(self, view: AnyView, answer: Callable[[], Awaitable[Answered]]) -> Answered:
        started, status = time.perf_counter(), 500
        try:
            answered = await answer()
            status = answered.status
            return answered
        except Problem as problem:
            status = problem.status
            raise
        except Unavailable as error:
            status = unavailable(error).status
            raise unavailable(error, view=view.name) from error
        except Exception as error:
            status = told.status if (told := problem_of(error)) else 500
            raise
        finally:
            self._observe_query(view.name, status, time.perf_counter() - started)


def _row_operation(view: AnyView) -> Operation:
    return Operation(
        name=f"{view.name}ByKey",
        tag="views",
        summary=f"One row of {view.name}",
        fills={"view": view.name},
        parameters=(
            ROW_KEY._replace(description=f"The row's {view.key}."),
            TOKEN,
            PREFER,
            IF_NONE_MATCH,
            LAST_EVENT_ID,
        ),
        replies={
            200: Reply("The row.", view.row, ("View-Position", "View-Lag", "ETag", "Preference-Applied"), (JSON, EVENT_STREAM)),
            304: Reply("The row is the one you have.", None, ("View-Position", "View-Lag", "ETag")),
        },
        problems=("malformed", "no-such-row", "view-behind", *AWAY),
    )


def _page_operation(view: AnyView, declared: Declared) -> Operation:
    return Operation(
        name=view.name,
        tag="views",
        summary=f"Rows of {view.name}",
        fills={"view": view.name},
        parameters=(*declared.all.values(), TOKEN, PREFER, LAST_EVENT_ID),
        replies={200: Reply("A page.", page_shape(view), PAGE_HEADERS, (JSON, EVENT_STREAM))},
        problems=("malformed", "view-behind", *AWAY),
    )


def freshness_of(request: web.Request) -> Freshness:
    """Raises Malformed."""
    preferences = preferences_of(request.headers)
    wait_seconds = preferences.wait_seconds
    return Freshness(token_of(request.headers), preferences, WAIT_SECONDS_DEFAULT if wait_seconds is None else wait_seconds)
