"""`python -m twofold` with little patience for a command that comes to no end."""

from __future__ import annotations

import twofold.workers.trial
from twofold.cli import main

if __name__ == "__main__":
    twofold.workers.trial.DECIDE_SECONDS_MAX = 2.0
    main()
