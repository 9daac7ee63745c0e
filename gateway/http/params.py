"""What a request asks for in its path and query. Whatever is not understood is refused, and so is what no store can hold."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from twofold.gateway.http.headers import NUMBER_MAX
from twofold.kernel.errors import Malformed

TEXT_CHARS_MAX = 1_000
STREAM_CHARS_MAX = 500
LIMIT_MAX = 1_000

_NUMBER = re.compile(r"[0-9]{1,19}")


def storable(name: str, text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text, or Malformed when it is too long or holds what no store can hold: NUL, or half a surrogate pair."""
    if len(text) > chars_max:
        raise Malformed(f"{name} is longer than {chars_max} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Malformed(f"{name} holds a character that cannot be stored")
    return text


def path_text(request: web.Request, name: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    return storable(name, request.match_info[name], chars_max)


class Params:
    """The query of one request. Raises Malformed for parameters other than these, and for one given twice."""

    def __init__(self, request: web.Request, known: Collection[str], repeatable: Collection[str] = ()) -> None:
        self._query = request.query
        for name in self._query:
            if name not in known:
                listed = ", ".join(known) if known else "none"
                raise Malformed(f"there is no parameter {storable('a parameter', name)!r}; those are: {listed}")
            if name not in repeatable and len(self._query.getall(name)) > 1:
                raise Malformed(f"the parameter {name} is given more than once")

    def text(self, name: str) -> str | None:
        value = self._query.get(name)
        return None if value is None else storable(name, value)

    def texts(self, name: str) -> list[str]:
        """Of a parameter that may be repeated, or hold several values with commas between them. Empty when not given."""
        values = [part.strip() for value in self._query.getall(name, []) for part in storable(name, value).split(",")]
        return [value for value in values if value]

    def number(self, name: str, default: int, least: int = 0, most: int = NUMBER_MAX) -> int:
        given = self.number_or_none(name, least, most)
        return default if given is None else given

    def number_or_none(self, name: str, least: int = 0, most: int = NUMBER_MAX) -> int | None:
        value = self._query.get(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise Malformed(f"{name} must be a whole number from {least} to {most}")
        return int(value)

    def time(self, name: str) -> datetime | None:
        """A time with its zone, as UTC. A plus that was not percent-encoded arrives as a space, and is understood."""
        value = self.text(name)
        if value is None:
            return None
        try:
            moment = msgspec.convert(value.replace(" ", "+"), datetime)
            if moment.tzinfo is None:
                raise Malformed(f"{name} needs a time zone, like 2026-01-31T12:00:00Z")
            return moment.astimezone(UTC)
        except (msgspec.ValidationError, OverflowError, ValueError) as error:
            raise Malformed(f"{name} must be a time like 2026-01-31T12:00:00Z") from error
