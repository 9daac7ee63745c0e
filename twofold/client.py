"""What the command line asks of a running gateway, over HTTP: the same calls as anybody else's."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from twofold.kernel.errors import Error, Neighbour, Unavailable

TIMEOUT_SECONDS = 40.0
"""Longer than the longest wait a query may ask for (30 s)."""

AUDIT_SECONDS = 3_600.0
"""As long as reading the whole log may take."""


class Refused(Error):
    """The gateway answered with a problem. `problem` is its JSON object."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        said = f"{problem.get('title', 'refused')}: {problem.get('detail', '')}".rstrip(": ")
        pointers = [error["pointer"] for error in problem.get("errors", ()) if error.get("pointer")]
        more = [f"at {', '.join(pointers)}"] if pointers else []
        if problem.get("details"):
            more.append(json.dumps(problem["details"], ensure_ascii=False))
        super().__init__(" ".join([said, *more]))
        self.problem = problem


class Gateway:
    """One gateway at host:port. Raises Refused for a problem, Unavailable when nobody listens."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Any:
        """The decoded JSON answer."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_seconds)
        sent = dict(headers or {})
        if method in ("POST", "PUT"):
            sent["Content-Type"] = "application/json"  # also without a body: what a form of another site cannot say
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            where = f"{self._host}:{self._port}"
            raise Unavailable(
                Neighbour.GATEWAY, "nobody listens; start one, or set TWOFOLD_HOST and TWOFOLD_PORT", detail=where
            ) from error
        finally:
            connection.close()
        value = json.loads(text) if text else {}
        if answer.status >= 400:
            raise Refused(value)
        return value

    def send(self, command_type: str, data: object, wait_seconds: float | None) -> Any:
        headers = {} if wait_seconds is None else {"Prefer": f"wait={wait_seconds:g}"}
        return self.call("POST", f"/commands/{quote(command_type, safe='')}", data, headers)

    def get(self, view: str, key: str, token: str | None) -> Any:
        headers = {} if token is None else {"Consistency-Token": token}
        return self.call("GET", f"/views/{quote(view, safe='')}/{quote(key, safe='')}", None, headers)

    def views(self) -> list[str]:
        return [view["name"] for view in self.call("GET", "/views")["views"]]

    def audit(self, view: str, after: str | None) -> Any:
        """One call's worth of keys; the whole log is read for it."""
        behind = "" if after is None else f"?after={quote(after, safe='')}"
        return self.call("POST", f"/views/{quote(view, safe='')}/audit{behind}", timeout_seconds=AUDIT_SECONDS)

    def lag(self) -> Any:
        return self.call("GET", "/lag")
