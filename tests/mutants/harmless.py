"""Bugs that change nothing anybody could see, each with the reason. When one is drawn it is told, and not counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.mutants.sites import Mutant


class Harmless(NamedTuple):
    path: str
    before: str
    after: str
    reason: str


COUNTED = 'data.count(b"[") + data.count(b"{") > DEPTH_MAX'

HARMLESS: Sequence[Harmless] = (
    Harmless(
        "kernel/codec.py",
        COUNTED,
        COUNTED.replace(">", ">="),
        "with just as many brackets the depth is measured, and is no more than that: it costs time, and refuses nothing",
    ),
    Harmless(
        "subscriptions/log_cache.py",
        "self._recent_bytes = 0",
        "pass",
        "the first page that is read sets it, before anybody looks at it",
    ),
)


def reason(mutant: Mutant) -> str | None:
    place = (mutant.path, mutant.before, mutant.after)
    return next((one.reason for one in HARMLESS if (one.path, one.before, one.after) == place), None)
