"""What is said to a gateway: paths, queries, headers and bodies, made of what a caller gives."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from twofold.client.steps import Ask
from twofold.kernel.errors import Malformed
from twofold.kernel.messages import Command, tag_of

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
WAIT_SECONDS_MAX = 30.0
"""No gateway waits longer in one request; who wants to wait longer is asked for again."""
QUIET_SECONDS_MAX = 30.0
"""A gateway says something every ten seconds on an event stream; one that is silent for so long is given up."""

Token = str | int
"""What a reader wants to see: the id of a command, or a position."""

Where = Mapping[str, Any]
"""Field to value, or to a pair (from, to) of which either may be None: half-open, `from <= field < to`."""


Question = Mapping[str, Any]
"""A view and a key, or a view and what a page is asked by."""


class Manner(msgspec.Struct, frozen=True):
    """How a client asks: what it adds to every request, and how long it waits for an answer."""

    headers: Mapping[str, str] = {}
    timeout_seconds: float = 30.0
    patience_seconds: float = 60.0

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None, seconds: float = 0.0
    ) -> Ask:
        """`seconds` is how long the gateway itself is asked to wait. Raises Malformed for what no header can hold."""
        named = {"Accept": JSON, "Accept-Encoding": "identity", **self.headers, **(headers or {})}
        if method not in ("GET", "HEAD"):
            named.setdefault("Content-Type", JSON)  # also without a body: what a form of another site cannot say
        for name, value in named.items():
            if not value.isprintable():
                raise Malformed(f"{name} holds a character that no header can")
        return Ask(method, path, named, body, self.timeout_seconds + seconds)


def path_of(*parts: str) -> str:
    """Each part is one segment, whatever is in it."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def pairs_of(where: Where | None) -> list[tuple[str, str]]:
    """The parameters of a page's conditions."""
    pairs: list[tuple[str, str]] = []
    for name, value in (where or {}).items():
        if isinstance(value, tuple):
            low, high = value
            pairs += [(f"{name}.{end}", text_of(bound)) for end, bound in (("from", low), ("to", high)) if bound is not None]
        else:
            pairs.append((name, text_of(value)))
    return pairs


def query_of(where: Where | None, **parameters: object) -> str:
    """`?…` with what is not None; "" when nothing is left."""
    pairs = pairs_of(where)
    pairs += [(name, text_of(value)) for name, value in parameters.items() if value is not None]
    return f"?{urlencode(pairs, quote_via=quote, safe='')}" if pairs else ""


def text_of(value: object) -> str:
    """As it stands in JSON, without quotes."""
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def prefer_of(wait_seconds: float | None, lenient: bool = False) -> dict[str, str]:
    parts = [] if wait_seconds is None else [f"wait={min(max(wait_seconds, 0.0), WAIT_SECONDS_MAX):.3f}".rstrip("0").rstrip(".")]
    parts += ["handling=lenient"] if lenient else []
    return {"Prefer": ", ".join(parts)} if parts else {}


def token_of(after: Token | None) -> dict[str, str]:
    return {} if after is None else {"Consistency-Token": str(after)}


def new_key() -> str:
    """An Idempotency-Key that nobody else has: what is sent twice under it takes effect once."""
    return uuid.uuid4().hex


def named(command: str | Command, data: object) -> tuple[str, bytes]:
    """A command's wire name, and its fields as JSON."""
    if isinstance(command, Command):
        if data is not None:
            raise TypeError("a Command brings its own fields: send(command), or send(name, fields)")
        return tag_of(type(command)), msgspec.json.encode(command)
    return command, msgspec.json.encode({} if data is None else data)
