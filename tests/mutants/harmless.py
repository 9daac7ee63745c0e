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


HARMLESS: Sequence[Harmless] = ()


def reason(mutant: Mutant) -> str | None:
    place = (mutant.path, mutant.before, mutant.after)
    return next((one.reason for one in HARMLESS if (one.path, one.before, one.after) == place), None)
