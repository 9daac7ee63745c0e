"""What a gateway says no with.

    Refused             an answer that is a problem (RFC 9457): asked again, it would be the same
    ├── Declined        409 `rejected`: the domain said no; a twofold.Rejected, too
    ├── StreamMoved     412: the stream is not at the expected version; read it again and decide anew
    └── ViewBehind      503 `view-behind`: the rows do not show yet what the token stands for

Beside them Unavailable: nobody answered, or said "later" for as long as the client has patience; and Misconfigured, for a URL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from twofold.client.steps import Ask, Headers, Heard
from twofold.kernel.errors import Conflict, Error, Neighbour, Rejected, Unavailable

LATER = frozenset({408, 429, 502, 503, 504})
"""Statuses that say "later", a proxy's among them."""
RETRY_SECONDS_MAX = 3_600.0


class Refused(Error):
    """The gateway answered with a problem. `problem` is its JSON object, `kind` the last part of its stable type: `malformed`,
    `unknown-view`, `key-reused`, …; "" when it was no gateway that answered. `status` is HTTP's."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        said = f"{problem.get('title', 'refused')}: {problem.get('detail', '')}".rstrip(": ")
        pointers = [error["pointer"] for error in problem.get("errors", ()) if error.get("pointer")]
        more = [f"at {', '.join(pointers)}"] if pointers else []
        if problem.get("details"):
            more.append(json.dumps(problem["details"], ensure_ascii=False))
        super().__init__(" ".join([said, *more]))
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.kind = str(problem.get("type", "")).rpartition("/")[2]


class Declined(Refused, Rejected):
    """The domain said no, for good. `code` and `details` are those of its `Rejected`; `command_id` names the command."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        Refused.__init__(self, problem)
        self.code = str(problem.get("code", ""))
        self.details = dict(problem.get("details") or {})
        self.command_id = str(problem.get("command_id", ""))


class StreamMoved(Refused, Conflict):
    """The stream is not at the version that was expected."""


class ViewBehind(Refused):
    """The view does not show yet what the token stands for. `state` says why: `pending` (no outcome yet), `behind`, `parked`,
    `diverged`."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem)
        self.state = str(problem.get("state", ""))


KINDS: Mapping[str, type[Refused]] = {"rejected": Declined, "stream-moved": StreamMoved, "view-behind": ViewBehind}


def refusal(problem: Mapping[str, Any]) -> Refused:
    return KINDS.get(str(problem.get("type", "")).rpartition("/")[2], Refused)(problem)


def refusal_of(ask: Ask, heard: Heard) -> Refused:
    """Of an answer that is not the one hoped for. One that is no problem of ours is told by what was asked."""
    try:
        problem = msgspec.json.decode(heard.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("type"), str) and problem.get("status") == heard.status:
        return refusal(problem)
    return Refused({"title": f"{ask.label} was answered {heard.status}", "status": heard.status})


def later_of(ask: Ask, heard: Heard) -> Unavailable | None:
    """What an answer that says "later" means; None for any other. ViewBehind is an answer: who asked said how long he waits."""
    if heard.status not in LATER:
        return None
    refused = refusal_of(ask, heard)
    if isinstance(refused, ViewBehind):
        return None
    return Unavailable(
        Neighbour.GATEWAY,
        "refuses for now",
        detail=str(refused),
        retry_after_seconds=retry_seconds(heard.headers),
        is_overload=heard.status == 429,
    )


def retry_seconds(headers: Headers) -> float:
    """`Retry-After` in seconds, 0 when it is not given; the other form, a date, is left to the client's own pauses."""
    text = str(headers.get("retry-after") or "").strip()
    return min(float(text), RETRY_SECONDS_MAX) if text.isascii() and text.isdigit() else 0.0
