"""The pages and documents: /docs, /console, what they are made of, /openapi.json, /asyncapi.json and /problems.

Everything a page loads comes from this process, and the policy it is sent with allows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from aiohttp import web

from twofold.gateway.documents.asyncapi import asyncapi
from twofold.gateway.documents.openapi import openapi
from twofold.gateway.documents.parts import Json
from twofold.gateway.http.answers import encode
from twofold.gateway.http.body import JSON
from twofold.gateway.http.problem import KINDS, Answer, Problem
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


class Pages:
    """Documents are made when first asked for, and kept."""

    def __init__(self, domain: Domain, lanes_total: int, describe: Mapping[str, object]) -> None:
        self._openapi = cache(lambda: encode(openapi(domain, describe)))
        self._asyncapi = cache(lambda: encode(asyncapi(domain, lanes_total, describe)))
        self._file = cache(lambda name: (files("twofold.gateway") / "static" / name).read_bytes())

    def routes(self) -> Iterable[web.RouteDef]:
        pages = {"/docs": "docs.html", "/console": "console.html"}
        assets = ("page.css", "page.js", "docs.js", "console.js", "icon.svg")
        return [
            web.get("/", self.front),
            web.get("/openapi.json", self.openapi),
            web.get("/asyncapi.json", self.asyncapi),
            web.get("/problems", self.problems),
            web.get("/problems/{name}", self.problem),
            *(web.get(path, self._serve(name)) for path, name in pages.items()),
            *(web.get(f"/static/{name}", self._serve(name)) for name in assets),
        ]

    async def front(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/console"})

    async def openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._openapi(), content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def asyncapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._asyncapi(), content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def problems(self, request: web.Request) -> web.Response:
        return web.Response(body=encode({"problems": [_described(name) for name in KINDS]}), content_type=JSON)

    async def problem(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in KINDS:
            raise Problem("not-found", "there is no such kind of problem; /problems lists them")
        return web.Response(body=encode(_described(name)), content_type=JSON)

    def _serve(self, name: str) -> Answer:
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]

        async def serve(request: web.Request) -> web.Response:
            return web.Response(body=self._file(name), content_type=media_type, charset="utf-8", headers=PAGE_HEADERS)

        return serve


def _described(name: str) -> Json:
    kind = KINDS[name]
    return {"type": f"/problems/{name}", "status": kind.status, "title": kind.title}
