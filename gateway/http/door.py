"""Who may ask at all: under which host name, from which page, and in a form that no page of another site can send unasked.

A browser carries requests for any page it shows. A page of another site may send what a form could, and one whose host name was
bound anew to this address is of the same site to its browser; neither may change anything here, or read.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from twofold.gateway.http.operation import JSON, NDJSON
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import media_type_of

READING = ("GET", "HEAD", "OPTIONS")
ANY = "*"
REMEMBERED_MAX = 100


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
            media_type_of(request, JSON, NDJSON)

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
