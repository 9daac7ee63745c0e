"""Where a gateway is: its URL, read and checked once."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

from twofold.kernel.errors import Misconfigured

PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """`prefix` stands before every path: "" or `/api`, percent-encoded."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def endpoint_of(url: str) -> Endpoint:
    """Raises Misconfigured, in one line that begins with the URL and shows no password."""
    shown = url if "@" not in url else f"…@{url.rpartition('@')[2]}"
    if "://" not in url:
        raise Misconfigured(f"{shown}: not an address like http://127.0.0.1:8080; http:// or https:// is missing before it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"{shown}: not an address like http://127.0.0.1:8080; {error}") from error
    if parts.scheme not in PORTS or not host or any(not char.isprintable() or char == " " for char in url):
        raise Misconfigured(f"{shown}: not an address like http://127.0.0.1:8080")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Misconfigured(
            f"{shown}: an address of a gateway has neither user nor query; what it is to be told goes into headers"
        )
    prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    return Endpoint(parts.scheme, host, PORTS[parts.scheme] if port is None else port, prefix)
