"""The process in which suspect commands of a domain with inline views are tried: their events are folded, too, for nobody to see.

Whatever a worker's append would have the domain's code do is done here first, so that what kills or never ends kills nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from twofold.kernel.errors import BUGS, Unavailable
from twofold.kernel.log import Decision
from twofold.readmodels.inline.projection import Rehearsed
from twofold.settings import Settings
from twofold.wiring import open_deployment
from twofold.workers.trial import Rehearse, main, nothing_more


@contextmanager
def rehearsing(settings: dict[str, Any]) -> Iterator[Callable[[], Rehearse]]:
    """Nothing more than deciding while the log does not answer, or wants other views folded: whoever appends will say so."""
    with open_deployment(msgspec.convert(settings, Settings)) as deployment:
        try:
            inline, reading = deployment.rehearsal()
        except Unavailable:
            with nothing_more(settings) as begin:
                yield begin
            return

        def begin_rehearsal() -> Rehearse:
            rows: Rehearsed = {}

            def rehearse(decision: Decision) -> None:
                with suppress(*BUGS), reading() as connection:
                    inline.rehearse(connection, rows, decision.events)

            return rehearse

        yield begin_rehearsal


if __name__ == "__main__":
    main(rehearsing)
