"""The pages and documents: /docs, /console, what they are made of, /openapi.json, /asyncapi.json and /problems.

Everything a page loads comes from this process, and the policy it is sent with allows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from aiohttp import web

from twofold.gateway.documents.asyncapi import asyncapi
from twofold.gateway.documents.openapi import openapi
from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import JSON, OBJECT, TEXT, Call, Json, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import PROBLEM_TYPES, Problem
from twofold.gateway.http.request import path_text
from twofold.kernel.domain import Domain

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


PAGE = Reply("A page.", {"type": "string"}, media_types=("text/html",))
PROBLEM_NAME = Parameter("path", "name", "The last part of a problem's `type`.", TEXT)

OPENAPI = Operation(name="openapi", tag="documents", summary="This document", replies={200: Reply("OpenAPI 3.1.", OBJECT)})
ASYNCAPI = Operation(
    name="asyncapi", tag="documents", summary="What travels behind the gateway", replies={200: Reply("AsyncAPI 3.0.", OBJECT)}
)
PROBLEMS = Operation(name="problems", tag="documents", summary="Every type of problem", replies={200: Reply("All.", OBJECT)})
PROBLEM = Operation(
    name="problem",
    tag="documents",
    summary="One type of problem",
    parameters=(PROBLEM_NAME,),
    replies={200: Reply("It.", OBJECT)},
    problems=("malformed", "not-found"),
)
DOCS = Operation(name="docs", tag="documents", summary="This document, for people", replies={200: PAGE})
CONSOLE = Operation(name="console", tag="documents", summary="Rates and lag, as they move", replies={200: PAGE})


class Pages:
    """Documents are made when first asked for, and kept: `routes_of_all` is asked then, when every route is known."""

    def __init__(
        self,
        domain: Domain,
        routes_of_all: Callable[[], Iterable[Route]],
        bus_description: Mapping[str, Any],
        describe: Mapping[str, object],
    ) -> None:
        self._openapi = cache(lambda: encode(openapi(domain.name, routes_of_all(), describe)))
        self._asyncapi = cache(lambda: encode(asyncapi(domain, bus_description, describe)))
        self._file = cache(lambda name: (files("twofold.gateway") / "static" / name).read_bytes())

    def routes(self) -> Iterable[Route]:
        assets = ("page.css", "page.js", "docs.js", "console.js", "icon.svg")
        return [
            Route("GET", "/", self.front),
            Route("GET", "/docs", self._serve("docs.html"), (DOCS,)),
            Route("GET", "/console", self._serve("console.html"), (CONSOLE,)),
            *(Route("GET", f"/static/{name}", self._serve(name)) for name in assets),
            Route("GET", "/openapi.json", self.openapi, (OPENAPI,)),
            Route("GET", "/asyncapi.json", self.asyncapi, (ASYNCAPI,)),
            Route("GET", "/problems", self.problems, (PROBLEMS,)),
            Route("GET", "/problems/{name}", self.problem, (PROBLEM,)),
        ]

    async def front(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/console"})

    async def openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._openapi(), content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def asyncapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._asyncapi(), content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def problems(self, request: web.Request) -> web.Response:
        return web.Response(body=encode({"problems": [_described(name) for name in PROBLEM_TYPES]}), content_type=JSON)

    async def problem(self, request: web.Request) -> web.Response:
        name = path_text(request, PROBLEM_NAME)
        if name not in PROBLEM_TYPES:
            raise Problem("not-found", "there is no such type of problem; /problems lists them")
        return web.Response(body=encode(_described(name)), content_type=JSON)

    def _serve(self, name: str) -> Call:
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]

        async def serve(request: web.Request) -> web.Response:
            return web.Response(body=self._file(name), content_type=media_type, charset="utf-8", headers=PAGE_HEADERS)

        return serve


def _described(name: str) -> Json:
    problem_type = PROBLEM_TYPES[name]
    return {"type": f"/problems/{name}", "status": problem_type.status, "title": problem_type.title}
