"""What is asked about the builds of a view's rows: which there are, which one answers, and who still needs which.

building ── swap ──> live ── another is swapped in ──> retired ── needed by nobody for a while, migrate ──> dropped
    ^                                                     │
    └────────────── its version is deployed again ────────┘
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, Protocol

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


RebuildState = Literal["building", "verifying", "swapped", "cancelled", "failed"]


class Rebuild(msgspec.Struct, frozen=True):
    """Rows made anew beside the live ones of the same shape: what was asked for, and what has become of it.

    `before` is the generation that answered when it was asked for: the one to go back to. `throttle` is in events a second, 0
    for as fast as it goes. `begun_at` is in seconds since 1970, and it stood at `begun_from` then.
    """

    view: str
    generation: int
    before: int
    state: RebuildState = "building"
    throttle: float = 0.0
    begun_at: float = 0.0
    begun_from: int = 0
    differences: list[Any] = []

    @property
    def is_over(self) -> bool:
        return self.state not in ("building", "verifying")

    @property
    def is_going_back(self) -> bool:
        """Whether what it builds answered before: then it is kept, whatever becomes of it."""
        return self.generation < self.before or self.begun_from > 0


def rebuild_as_it_stands(noted: Rebuild | None, builds: Sequence[Build]) -> Rebuild | None:
    """What the builds of one view say of its last rebuild: a process may die between doing something and noting it."""
    live = next((one for one in builds if one.generation.state == "live"), None)
    of_live = [one.generation for one in builds if live and one.shape == live.shape and one.generation.state == "building"]
    if live and of_live and (noted is None or noted.generation != of_live[-1].number):
        return Rebuild(live.generation.view, of_live[-1].number, live.generation.number)
    if noted is None or noted.is_over:
        return noted
    state = next((one.generation.state for one in builds if one.generation.number == noted.generation), "dropped")
    if state == "building":
        return noted
    return msgspec.structs.replace(noted, state="swapped" if state == "live" else "cancelled")


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
        has not reached `position`, or it is not being built (any more): nothing was changed."""

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        """Say that a process needs these for as long, by the store's clock: they are not dropped meanwhile, and a while after."""

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        """Begin to make the rows of the live generation anew beside it; `again`: or go on with this one of its shape, which was
        retired. None, and nothing happens, where the live one is of another shape or one is being built beside it already."""

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        """The last rebuild of each of these views that had one, by view."""

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        """Note what has become of it. What a cancelled or failed one has built is dropped, unless it
        goes back to one that was retired. False, and nothing happens, when
        it was over already, or is not the last one."""
