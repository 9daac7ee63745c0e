"""Which of a view's generations answers: the live one, until that of this process's own shape has caught up with it.

own is live ──────────────────────────> own
own is being built, and behind ───────> the live one, as far as the view's row can be made of what it holds
own is retired, half built ───────────> the live one, if it can be read
own is retired, still folded ─────────> own
own is retired, folded by nobody now ─> the live one, if it can be read
"""

from __future__ import annotations

from collections.abc import Sequence

from twofold.kernel.builds import Build
from twofold.kernel.errors import Unavailable
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.shape import is_inline, reading_of, shape_of


class Answering:
    """Chooses, look after look, for one process."""

    def __init__(self) -> None:
        self._stood: dict[str, Build] = {}
        """By view, the retired generation that answered last, as it stood then."""
        self._caught_up: set[tuple[str, int]] = set()
        """Generations (view, number) that were seen no further back than the live one."""

    def choose(self, view: AnyView, builds: Sequence[Build]) -> Build | None:
        """Of all builds of a view. None: there is none of its shape, or none at all."""
        own, live = _own_and_live(view, builds)
        if own is None or live is None:
            return own
        if own.position >= live.position:
            self._caught_up.add((view.name, own.generation.number))
            return own
        if own.generation.state == "building":
            return live
        stood, self._stood[view.name] = self._stood.get(view.name), own
        is_left = own == stood or (view.name, own.generation.number) not in self._caught_up
        return live if is_left and can_read(view, live.shape) else own


def is_awaited(view: AnyView, builds: Sequence[Build]) -> bool:
    """Whether the rows of its own shape are to answer, and are still being built: behind those of another that do meanwhile."""
    own, live = _own_and_live(view, builds)
    return own is not None and live is not None and own.generation.state == "building" and own.position < live.position


def is_yet_to_answer(view: AnyView, builds: Sequence[Build], attached: Generation | None) -> bool:
    """Whether rows of its own shape are there to answer, and this process still answers from others. None: not known."""
    own, _ = _own_and_live(view, builds)
    if own is None or attached is None:
        return False
    return own.generation.state != "retired" and own.generation.number != attached.number


def can_read(view: AnyView, shape: str) -> bool:
    try:
        reading_of(view, shape)
    except Unavailable:
        return False
    return True


def _own_and_live(view: AnyView, builds: Sequence[Build]) -> tuple[Build | None, Build | None]:
    mine = {state: None for state in ("retired", "building", "live")} | {
        build.generation.state: build for build in builds if build.shape == shape_of(view)
    }
    live = next((one for one in builds if one.generation.state == "live" and not is_inline(one.shape)), None)
    return mine["live"] or mine["building"] or mine["retired"], live
