"""GET /views/{view}/{key} and GET /views/{view}?{index}={value}: rows, fresh enough for whoever asks.

token, Prefer ──> ConsistentReads ──> row or page ──> View-Position, View-Lag, ETag; or 503 view-behind
Accept: text/event-stream ──> the same reads, again at every hint (follow.py)
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.body import JSON
from twofold.gateway.http.event_streams import wants_events
from twofold.gateway.http.headers import WAIT_SECONDS_DEFAULT, Preferences, is_seen, preferences_of, token_of
from twofold.gateway.http.params import LIMIT_MAX, Params, path_text
from twofold.gateway.http.problem import Problem, problem_of
from twofold.gateway.queries.consistency import ConsistentReads, Reading
from twofold.gateway.queries.lag import LagReports
from twofold.gateway.queries.live import Follower
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Malformed
from twofold.kernel.rows import Query
from twofold.kernel.view import AnyView

LIMIT_DEFAULT = 50
RETRY_SECONDS = "1"

ObserveQuery = Callable[[str, int, float], None]
"""Told the view, the HTTP status and the seconds of every query."""


class Views:
    def __init__(
        self, domain: Domain, reads: ConsistentReads, lag: LagReports, follower: Follower, observe_query: ObserveQuery
    ) -> None:
        self._domain = domain
        self._reads = reads
        self._lag = lag
        self._follower = follower
        self._observe_query = observe_query

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/views/{view}/{key}", self.get_row), web.get("/views/{view}", self.get_page)]

    async def get_row(self, request: web.Request) -> web.StreamResponse:
        view = self._view(request)
        Params(request, ())
        key = path_text(request, "key")
        if wants_events(request):
            return await self._follower.row(request, view, key)
        return await self._observed(view, lambda: self._row(request, view, key))

    async def get_page(self, request: web.Request) -> web.StreamResponse:
        view = self._view(request)
        query = query_of(request, view)
        if wants_events(request):
            return await self._follower.page(request, view, query)
        return await self._observed(view, lambda: self._page(request, view, query))

    async def _row(self, request: web.Request, view: AnyView, key: str) -> web.Response:
        preferences, wait_seconds = _patience(request)
        reading = await self._reads.row(view, key, token_of(request.headers), wait_seconds)
        headers = self._headers(view, reading, preferences)
        row = reading.answer.row
        if row is None:
            raise Problem("no-such-row", "the view has no row with this key", headers)
        headers["ETag"] = etag = f'"{row.position}"'
        if is_seen(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=encode(row.value), content_type=JSON, headers=headers)

    async def _page(self, request: web.Request, view: AnyView, query: Query) -> web.Response:
        preferences, wait_seconds = _patience(request)
        reading = await self._reads.page(view, query, token_of(request.headers), wait_seconds)
        headers = self._headers(view, reading, preferences)
        page = reading.answer
        if page.next is not None:
            headers["Link"] = f'<{request.rel_url.update_query(cursor=page.next)}>; rel="next"'
        body = encode({"items": [row.value for row in page.rows], "next": page.next})
        return web.Response(body=body, content_type=JSON, headers=headers)

    def _headers(self, view: AnyView, reading: Reading[Any], preferences: Preferences) -> dict[str, str]:
        """Raises Problem view-behind for a reading that does not show what it should, unless stale is good enough."""
        position = reading.answer.position
        if not reading.is_reached and not preferences.is_lenient:
            raise Problem(
                "view-behind",
                "the view does not show yet what this token stands for; please try again",
                {"Retry-After": RETRY_SECONDS},
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

    def _view(self, request: web.Request) -> AnyView:
        view = self._domain.views.get(request.match_info["view"])
        if view is None:
            raise Problem("unknown-view", f"there is no such view; those are: {', '.join(self._domain.views)}")
        return view

    async def _observed(self, view: AnyView, answer: Callable[[], Awaitable[web.Response]]) -> web.Response:
        started, status = time.perf_counter(), 500
        try:
            response = await answer()
            status = response.status
            return response
        except Exception as error:
            problem = problem_of(error)
            status = problem.status if problem else 500
            raise
        finally:
            self._observe_query(view.name, status, time.perf_counter() - started)


def query_of(request: web.Request, view: AnyView) -> Query:
    """Raises Malformed; for an index that is not declared, with those that are."""
    declared = tuple(dict.fromkeys((*view.indexes, view.key)))
    unknown = [name for name in request.query if name not in (*declared, "order", "limit", "cursor")]
    if unknown:
        listed = ", ".join(declared)
        raise Malformed(f"{view.name} has no such index or parameter; indexes: {listed}; beside them: order, limit, cursor")
    params = Params(request, (*declared, "order", "limit", "cursor"))
    asked = [name for name in declared if name in request.query]
    if len(asked) > 1:
        raise Malformed(f"one index at a time, not {' and '.join(asked)}")
    order = params.text("order")
    return Query(
        index=asked[0] if asked else None,
        value=params.text(asked[0]) if asked else None,
        order=None if order is None else order.removeprefix("-"),
        descending=order is not None and order.startswith("-"),
        limit=params.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX),
        cursor=params.text("cursor"),
    )


def _patience(request: web.Request) -> tuple[Preferences, float]:
    preferences = preferences_of(request.headers)
    wait_seconds = preferences.wait_seconds
    return preferences, WAIT_SECONDS_DEFAULT if wait_seconds is None else wait_seconds
