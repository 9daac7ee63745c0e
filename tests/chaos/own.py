"""Scenarios that need a system of their own: another domain, other servers, other ways to them.

Each is a generator of rounds: it builds what it needs, hurts it so many times, and takes it away again. `python -m tests.chaos`
runs them beside `scenarios.SCENARIOS`, and `tests/system/faults/test_faults.py` each once, but for LONG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

from tests.chaos.deploys import rolling_rounds
from tests.chaos.failovers import failover_rounds, restore_rounds
from tests.chaos.fulfilling import fulfilling_rounds
from tests.chaos.pooler import pooler_rounds
from tests.chaos.rounds import Round
from tests.chaos.served import Backends
from tests.servers import Servers

Rounds = Callable[[Servers, Backends, Path, int, Random], Iterator[Round]]
"""Of these servers, in this folder, so many rounds."""

OWN: Mapping[str, Rounds] = {
    "rolling-deploy": rolling_rounds,
    "pooler": pooler_rounds,
    "failover": failover_rounds,
    "restore": restore_rounds,
    "fulfilling": fulfilling_rounds,
}
LONG = frozenset({"rolling-deploy"})
"""Take longer than all others together: `make chaos` runs them, the tests do not."""
