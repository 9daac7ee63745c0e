"""What is asked about the builds of a view's rows: which there are, which one answers, and who still needs which.

building ── swap ──> live ── another is swapped in ──> retired ── needed by nobody for a while, migrate ──> dropped
    ^                                                     │
    └────────────── its version is deployed again ────────┘
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView

RETIRED_SECONDS_MIN = 86_400.0
"""How long a retired generation is kept after it was retired, and after the last process that used it said so."""


class Build(msgspec.Struct, frozen=True):
    """A generation, the shape it was made for, and the lowest checkpoint of its slices."""

    generation: Generation
    shape: str
    position: int


class Builds(Protocol):
    """Part of the port ViewStore."""

    def builds(self, views: Collection[str]) -> list[Build]:
        """Every generation of these views that is not dropped, by view and number, all read in one snapshot of each view."""

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        """Work on this generation of the view from now on. None: on that of the view's own shape, the live one or else the one
        that is being built or was retired last. One of another shape is read, as far as the view's row can be made of what it
        holds. Makes no tables. Raises Misconfigured, with the fix, when there is none, or when it cannot be read."""

    def swap(self, generation: Generation, position: int) -> bool:
        """Let this generation answer from now on, and retire the one that did, in one transaction. False when one of its slices
        has not reached `position`, or it is neither being built nor retired any more: nothing was changed."""

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        """Say that a process needs these for as long, by the store's clock: they are not dropped meanwhile, and a while after."""
