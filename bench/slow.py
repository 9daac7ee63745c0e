"""The shop with views that are dear to fold: every `evolve` computes for some milliseconds first."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from twofold.shop import DECIDERS as DECIDERS
from twofold.shop.views import VIEWS as CHEAP

EVOLVE_SECONDS = 0.003


def _dear(view: Any) -> Any:
    def evolve(row: Any, event: Any, about: Any) -> Any:
        end = time.thread_time() + EVOLVE_SECONDS
        while time.thread_time() < end:
            pass
        return view.evolve(row, event, about)

    return replace(view, evolve=evolve)


VIEWS = tuple(map(_dear, CHEAP))
