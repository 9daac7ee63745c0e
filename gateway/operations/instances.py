"""Instances of processes as they are told: from the rows of the view `process_{name}`, and from its keys that are parked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from twofold.gateway.http.problem import Problem
from twofold.kernel.errors import Malformed
from twofold.kernel.instances import Instance
from twofold.kernel.ports import Clock, ParkedKeys, Rows
from twofold.kernel.process import INSTANCE, AnyProcess
from twofold.kernel.rows import ParkedKey, Query
from twofold.monitoring.instances import STATES, parked_instances, questions, stuck_because, view_of_instances

EVERY = "every"
PARKED = "parked"
WAYS: dict[str | None, tuple[str, ...]] = {
    None: (EVERY,),
    "running": ("running",),
    "stuck": ("call-given-up", "silent", PARKED),
    "done": ("done",),
    "cancelled": ("cancelled",),
}
"""The questions whose answers, one after the other, are the instances of a state; `parked` is no question to the rows."""


class Situation(NamedTuple):
    """One instance as it is now: its row, None where its key was parked before there was one; and what parks it."""

    instance: Instance | None
    parked: ParkedKey | None


class Instances:
    """Blocking."""

    def __init__(self, rows: Rows, parked: ParkedKeys, clock: Clock) -> None:
        self._rows = rows
        self._parked = parked
        self._clock = clock

    def standing(self, process: AnyProcess, key: str) -> Situation:
        """Raises Problem no-such-instance."""
        view = view_of_instances(process)
        (found,) = self._rows.get(view, [key])
        parked = self._parked.parked(view, key) if found.parked is not None else []
        if found.row is None and not parked:
            raise Problem("no-such-instance", "nothing is known under this key, or not yet")
        return Situation(_read(found.row), next(iter(parked), None))

    def page(self, process: AnyProcess, state: str | None, limit: int, cursor: str | None) -> tuple[list[Any], str | None]:
        """What is asked for in several ways is answered way by way; a cursor begins with the name of its own."""
        ways, now = WAYS[state], self._clock.now()
        first, _, inner = (cursor or f"{ways[0]}.").partition(".")
        if first not in ways:
            raise Malformed("not a cursor of this query: it belongs to another state", "/cursor")
        items: list[Any] = []
        for way in ways[ways.index(first) :]:
            if len(items) >= limit:
                return items, f"{way}."
            ask = self._parked_page if way == PARKED else self._row_page
            found, following = ask(process, way, limit - len(items), inner, now)
            items, inner = items + found, ""
            if following is not None:
                return items, f"{way}.{following}"
        return items, None

    def whole(self, process: AnyProcess, key: str) -> dict[str, Any]:
        """Everything there is to tell of one. Raises Problem no-such-instance."""
        instance, parked = self.standing(process, key)
        view, stream = view_of_instances(process), f"{INSTANCE.name}-{process.name}/{key}"
        ref = quote(key, safe="")
        timers = sorted((due, timer) for timer, due in instance.timers.items()) if instance else []
        given_up = instance.given_up if instance else {}
        return _told(process, key, instance, parked is not None, self._clock.now()) | {
            "state": getattr(instance, "state", None),
            "timers": [{"timer": timer, "due": due} for due, timer in timers],
            "given_up": [{"call_id": call_id} | msgspec.structs.asdict(call) for call_id, call in given_up.items()],
            "parked": _parking(parked, f"key-{view}-{ref}") if parked else None,
            "limit_seconds": process.limit_seconds,
            "correlation_id": instance.correlation_id if instance else None,
            "stream": stream,
            "links": {"stream": f"/streams/{quote(stream, safe='')}", "row": f"/views/{view}/{ref}"},
        }

    def _row_page(
        self, process: AnyProcess, way: str, limit: int, cursor: str, now: datetime
    ) -> tuple[list[dict[str, Any]], str | None]:
        query = Query() if way == EVERY else questions(process, now)[way]
        page = self._rows.find(view_of_instances(process), msgspec.structs.replace(query, limit=limit, cursor=cursor or None))
        parked = set(parked_instances(self._parked, process)) if page.has_parked else set()
        told = [_told(process, row.key, _read(row), row.key in parked, now) for row in page.rows]
        return [one for one in told if way not in STATES or one["status"] == way], page.next

    def _parked_page(
        self, process: AnyProcess, way: str, limit: int, cursor: str, now: datetime
    ) -> tuple[list[dict[str, Any]], str | None]:
        """By key, those that no other way leads to."""
        keys = [key for key in parked_instances(self._parked, process) if key > cursor]
        page = keys[:limit]
        found = self._rows.get(view_of_instances(process), page) if page else []
        told = [_told(process, key, _read(one.row), True, now) for key, one in zip(page, found, strict=True)]
        return [one for one in told if one["stuck_because"] == [PARKED]], page[-1] if len(keys) > limit else None


def _read(row: Any) -> Instance | None:
    instance: Instance | None = None if row is None else row.value
    return instance


def _told(process: AnyProcess, key: str, instance: Instance | None, is_parked: bool, now: datetime) -> dict[str, Any]:
    because = stuck_because(process, instance, is_parked, now)
    told: dict[str, Any] = {"process": process.name, "key": key, "status": "stuck", "stuck_because": because}
    if instance is None:
        return told | {"since": None, "heard_at": None, "due": None}
    status = told["status"] if because else instance.status
    return told | {"status": status, "since": instance.since, "heard_at": instance.heard_at, "due": instance.due}


def _parking(parked: ParkedKey, ref: str) -> dict[str, Any]:
    """As /parked tells it, and called so there."""
    named = {"ref": ref, "position": parked.position, "error": parked.error, "waiting": parked.waiting}
    return named | {"attempts": parked.attempts, "parked_at": parked.parked_at}
