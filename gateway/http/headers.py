"""What a request's headers say: whether it may ask at all, then its preferences, tokens, keys and conditions.

A browser carries requests for any page it shows. A page of another site may send what a form could, and one whose host name was
bound anew to this address is of this very site to its browser; neither may change anything here, or read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from twofold.gateway.http.operation import EVENT_STREAM, JSON, NDJSON, NUMBER_MAX, TEXT, Parameter
from twofold.gateway.http.problem import Problem
from twofold.kernel.errors import Malformed
from twofold.kernel.ids import is_possible_command_id

WAIT_SECONDS_DEFAULT = 2.0
WAIT_SECONDS_MAX = 30.0
KEY_CHARS_MAX = 200
KEY = {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX}

PREFER = Parameter(
    "header",
    "Prefer",
    f"`wait=S`: wait up to S seconds, at most {WAIT_SECONDS_MAX:g}. `handling=lenient`: a stale row is good enough.",
    {
        "type": "string",
        "pattern": "^(wait=[0-9]{1,9}|handling=(lenient|strict))(, *(wait=[0-9]{1,9}|handling=(lenient|strict)))*$",
    },
)
TOKEN = Parameter(
    "header",
    "Consistency-Token",
    f"A command's id, or a position: the answer shows it. Waits {WAIT_SECONDS_DEFAULT:g} s unless `Prefer` says otherwise.",
    {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "pattern": "^[0-9]{1,18}$"}]},
)
IDEMPOTENCY_KEY = Parameter("header", "Idempotency-Key", "The same key and body: the same command.", KEY)
IF_MATCH = Parameter(
    "header", "If-Match", 'The stream\'s expected version, like "3".', {"type": "string", "pattern": '^"[0-9]{1,18}"$'}
)
IF_NONE_MATCH = Parameter("header", "If-None-Match", "An ETag: 304 while the row is the same.", TEXT)
CORRELATION_ID = Parameter("header", "Correlation-Id", "Written into the events' meta data.", KEY)
LAST_EVENT_ID = Parameter("header", "Last-Event-ID", "Of the last server-sent event received.", TEXT)

READING = ("GET", "HEAD", "OPTIONS")
ANY = "*"
REMEMBERED_MAX = 100

_NUMBER = re.compile(r"[0-9]{1,19}")
_QUOTED_NUMBER = re.compile(r'"([0-9]{1,19})"')
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Preferences(NamedTuple):
    """The parts of `Prefer` (RFC 7240) that mean something here. `wait_seconds` is None when not asked for."""

    wait_seconds: float | None = None
    is_lenient: bool = False

    def applied(self) -> str:
        """For `Preference-Applied`: what was honoured, the wait as it was bounded."""
        parts = [] if self.wait_seconds is None else [f"wait={self.wait_seconds:g}"]
        return ", ".join([*parts, "handling=lenient"] if self.is_lenient else parts)


NO_PREFERENCES = Preferences()


class Token(NamedTuple):
    """What a reader has seen: a position, or a command whose position is not known yet. Exactly one is set."""

    position: int | None
    command_id: str | None


def preferences_of(headers: Mapping[str, str]) -> Preferences:
    """Raises Malformed for a wait that is no number of seconds; preferences of other names are ignored, as the RFC demands."""
    text = headers.get(PREFER.name)
    if text is None:
        return NO_PREFERENCES
    wait_seconds: float | None = None
    is_lenient = False
    for part in text.split(","):
        name, _, value = part.split(";")[0].partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "wait":
            if not _SECONDS.fullmatch(value):
                raise Malformed("Prefer: wait=S needs a number of seconds")
            wait_seconds = min(float(value), WAIT_SECONDS_MAX)
        elif name == "handling":
            if value.lower() not in ("lenient", "strict"):
                raise Malformed("Prefer: handling is lenient or strict")
            is_lenient = value.lower() == "lenient"
    return Preferences(wait_seconds, is_lenient)


def token_of(headers: Mapping[str, str]) -> Token | None:
    """The Consistency-Token. Raises Malformed when it is neither a position nor an id a gateway can have handed out."""
    text = headers.get(TOKEN.name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) and int(text) <= NUMBER_MAX:
        return Token(int(text), None)
    if is_possible_command_id(text):
        return Token(None, text)
    raise Malformed(f"{TOKEN.name} must be a command id or a position")


def expected_version_of(headers: Mapping[str, str]) -> int | None:
    """The N of `If-Match: "N"`. Raises Malformed for anything else."""
    text = headers.get(IF_MATCH.name)
    if text is None:
        return None
    quoted = _QUOTED_NUMBER.fullmatch(text.strip())
    if quoted is None or int(quoted.group(1)) > NUMBER_MAX:
        raise Malformed('If-Match must be the expected version of the stream in double quotes, like "3"')
    return int(quoted.group(1))


def printable(name: str, text: str | None) -> str | None:
    """A key or id chosen by a client: 1 to 200 printable characters. Raises Malformed."""
    if text is None or (0 < len(text) <= KEY_CHARS_MAX and text.isprintable()):
        return text
    raise Malformed(f"{name} must be 1 to {KEY_CHARS_MAX} printable characters")


def is_seen(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names this entity tag; compared weakly, as RFC 9110 demands for it."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def wants_events(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the answer is to be server-sent events."""
    return method == "GET" and EVENT_STREAM in headers.get("Accept", "")


def media_type_of(headers: Mapping[str, str], *accepted: str) -> str:
    """The body's media type, one of these. Raises Problem unsupported-media-type, also for compression and foreign charsets."""
    if "Content-Encoding" in headers and headers["Content-Encoding"].lower() != "identity":
        raise Problem("unsupported-media-type", "compressed bodies are not accepted", {"Accept-Encoding": "identity"})
    declared = headers.get("Content-Type", "")
    if declared in accepted:
        return declared
    media_type, _, parameters = declared.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.replace('"', "").replace(" ", "").lower()
    if media_type not in accepted or charset not in ("", "charset=utf-8"):
        listed = " or ".join(accepted)
        raise Problem("unsupported-media-type", f"the body must be {listed}, in UTF-8", {"Accept": ", ".join(accepted)})
    return media_type


class Door:
    """`allowed_hosts` are names with commas between, `*.name` for all below one, `*` for any. Beside them an address and a name
    of one word or below `localhost` are always allowed: nobody else can have those bound to this address."""

    def __init__(self, allowed_hosts: str = "") -> None:
        self._allowed = frozenset(host.strip().lower() for host in allowed_hosts.split(",") if host.strip())
        self._known: set[str] = set()

    def check(self, request: web.Request) -> None:
        """Raises Problem unknown-host, cross-site or unsupported-media-type."""
        headers = request.headers
        host = headers.get("Host")
        if host is not None and host not in self._known:
            self._require_allowed(host)
        if request.method in READING:
            return
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if site not in ("same-origin", "none") if site else origin and urlsplit(origin).netloc != host:
            raise Problem("cross-site", "a page of another site asks for this; only our own pages, and whoever is no page, may")
        if request.method != "DELETE" and request.match_info.http_exception is None:
            media_type_of(headers, JSON, NDJSON)

    def _require_allowed(self, host: str) -> None:
        name = name_of(host)
        labels = name.split(".")
        parents = {"*." + ".".join(labels[at:]) for at in range(1, len(labels))}
        own = (len(labels) == 1 and name) or labels[-1] == "localhost" or is_address(name)
        if not own and self._allowed.isdisjoint({ANY, name, *parents}):
            raise Problem(
                "unknown-host", f"{name[:100]!r} is not among the names of this gateway; TWOFOLD_ALLOWED_HOSTS lists them"
            )
        if len(self._known) < REMEMBERED_MAX:
            self._known.add(host)


def name_of(host: str) -> str:
    """The name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
