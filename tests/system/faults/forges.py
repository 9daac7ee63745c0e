"""The smith's domain with an inline view more, whose folding can be told to take its process with it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from tests.system.faults.anvils import ANVIL, ANVILS, AnvilRow, Struck, evolve_row
from twofold.kernel.view import About


def evolve_forge(row: AnvilRow | None, event: Struck, about: About) -> AnvilRow:
    if event.how == "kill-row":
        os.kill(os.getpid(), signal.SIGKILL)
    return evolve_row(row, event, about)


DECIDERS = (ANVIL,)
VIEWS = (ANVILS, replace(ANVILS, name="forges", sync="inline", evolve=evolve_forge))
