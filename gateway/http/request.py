"""What a request brings along: its path, its query, its body. Whatever is not understood is refused, and so is what no store
can hold."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from aiohttp import web

from twofold.gateway.http.operation import COUNT, NUMBER_MAX, TEXT, TEXT_CHARS_MAX, Parameter
from twofold.gateway.http.problem import Problem
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.kernel.view import AnyView

STREAM_CHARS_MAX = 500
LIMIT_MAX = 1_000
COMMAND_BYTES_MAX = 256 * 1024
BULK_BYTES_MAX = 4 * 1024 * 1024
BODY_SECONDS_MAX = 20.0
BODIES_BYTES_MAX = 64 * 1024 * 1024
BODY_BYTES_FREE = 64 * 1024
"""As much of each body comes in whatever the others take: a command is seldom longer."""

LIMIT = Parameter("query", "limit", "How many at most.", COUNT | {"minimum": 1, "maximum": LIMIT_MAX})
ROW_KEY = Parameter("path", "key", "The row's key.", TEXT)
STREAM = Parameter("path", "stream", "The stream's name.", TEXT | {"maxLength": STREAM_CHARS_MAX})

_NUMBER = re.compile(r"[0-9]{1,19}")


def storable(name: str, text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text, or Malformed when it is too long or holds what no store can hold: NUL, or half a surrogate pair."""
    if len(text) > chars_max:
        raise Malformed(f"{name} is longer than {chars_max} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Malformed(f"{name} holds a character that cannot be stored")
    return text


def path_text(request: web.Request, parameter: Parameter) -> str:
    return storable(parameter.name, request.match_info[parameter.name], parameter.schema.get("maxLength", TEXT_CHARS_MAX))


def view_of(request: web.Request, domain: Domain) -> AnyView:
    """The view that the path names. Raises Problem unknown-view."""
    view = domain.views.get(request.match_info["view"])
    if view is None:
        raise Problem("unknown-view", f"those there are: {', '.join(domain.views)}")
    return view


class HasQuery(Protocol):
    """A request, or what asks as one does: `query` maps names to texts; its `getall` gives every one of a name."""

    @property
    def query(self) -> Any: ...


class Params:
    """The query of one request. Raises Malformed for parameters other than these, and for one given twice."""

    def __init__(self, request: HasQuery, *known: Parameter, repeatable: Parameter | None = None) -> None:
        self._query = request.query
        if not self._query:
            return
        names = [parameter.name for parameter in known if parameter.location == "query"]
        for name in self._query:
            if name not in names:
                listed = ", ".join(names) if names else "none"
                raise Malformed(f"there is no parameter {storable('a parameter', name)!r}; those are: {listed}", f"/{name}")
            is_repeatable = repeatable is not None and name == repeatable.name
            if not is_repeatable and len(self._query.getall(name)) > 1:
                raise Malformed(f"the parameter {name} is given more than once", f"/{name}")

    def text(self, parameter: Parameter, chars_max: int = TEXT_CHARS_MAX) -> str | None:
        value = self._query.get(parameter.name)
        return None if value is None else storable(parameter.name, value, chars_max)

    def texts(self, parameter: Parameter) -> list[str]:
        """Of a parameter that may be repeated, or hold several values with commas between them. Empty when not given."""
        given = self._query.getall(parameter.name, [])
        values = [part.strip() for value in given for part in storable(parameter.name, value).split(",")]
        return [value for value in values if value]

    def number(self, parameter: Parameter, default: int) -> int:
        given = self.number_or_none(parameter)
        return default if given is None else given

    def number_or_none(self, parameter: Parameter) -> int | None:
        """Within the bounds that the parameter's schema names."""
        value = self._query.get(parameter.name)
        if value is None:
            return None
        least, most = parameter.schema["minimum"], parameter.schema.get("maximum", NUMBER_MAX)
        if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise Malformed(f"{parameter.name} must be a whole number from {least} to {most}")
        return int(value)

    def time(self, parameter: Parameter) -> datetime | None:
        """A time with its zone, as UTC. A plus that was not percent-encoded arrives as a space, and is understood."""
        value = self.text(parameter)
        if value is None:
            return None
        try:
            moment = msgspec.convert(value.replace(" ", "+"), datetime)
            if moment.tzinfo is None:
                raise Malformed(f"{parameter.name} needs a time zone, like 2026-01-31T12:00:00Z")
            return moment.astimezone(UTC)
        except (msgspec.ValidationError, OverflowError, ValueError) as error:
            raise Malformed(f"{parameter.name} must be a time like 2026-01-31T12:00:00Z") from error


class Bodies:
    """What all bodies under way take in memory. Who sends half of many large ones holds up others who do so, and nobody else."""

    def __init__(self) -> None:
        self._bytes_left = BODIES_BYTES_MAX

    async def read(self, request: web.Request, bytes_max: int) -> bytes:
        """The whole body. Raises Problem too-large or too-slow, or overloaded when there is no room for it; the connection is
        closed then, for the rest is not read."""
        declared = request.content_length
        if declared is not None and declared > bytes_max:
            raise _too_large(bytes_max)
        content = request.content
        if content.is_eof():
            body = content.read_nowait()
            if len(body) > bytes_max:
                raise _too_large(bytes_max)
            return body
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                return await self._gather(request, bytes_max)
        except TimeoutError as error:
            raise Problem(
                "too-slow", f"the body did not arrive within {BODY_SECONDS_MAX:g} s", {"Connection": "close"}
            ) from error

    async def _gather(self, request: web.Request, bytes_max: int) -> bytes:
        body, taken = bytearray(), 0
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bytes_max:
                    raise _too_large(bytes_max)
                more = max(0, len(body) - BODY_BYTES_FREE) - taken
                if more > self._bytes_left:
                    raise Problem(
                        "overloaded",
                        "too many large bodies are under way",
                        {"Connection": "close", "Retry-After": "1"},
                        Unavailable(Neighbour.GATEWAY, "too many bodies are under way", is_overload=True),
                    )
                self._bytes_left -= more
                taken += more
            return bytes(body)
        finally:
            self._bytes_left += taken


BODIES: web.AppKey[Bodies] = web.AppKey("BODIES", Bodies)


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """The whole body, as `Bodies.read` of this application."""
    return await request.app[BODIES].read(request, bytes_max)


def _too_large(bytes_max: int) -> Problem:
    return Problem("too-large", f"the body is larger than {bytes_max} bytes", {"Connection": "close"})
