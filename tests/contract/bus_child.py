"""A process that executes lanes until it is killed: `python -m tests.contract.bus_child KIND URL_OR_PATH PREFIX OUT`.

After each execution it appends the ids to OUT, then dawdles. Its deliveries are small, so that a kill finds work in flight,
work in its hands and work in the lanes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import twofold.bus.dispatch.lanes
from tests.contract.buses import AnyBus, EmbeddedBus, RabbitBus, working
from tests.named import name_of
from twofold.kernel.envelope import Envelope


def main(kind: str, where: str, prefix: str, out: str) -> None:
    twofold.bus.dispatch.lanes.DELIVERY_COMMANDS_MAX = 40
    lanes: AnyBus = RabbitBus(where, prefix) if kind == "rabbit" else EmbeddedBus(Path(where))
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def execute(envelopes: Sequence[Envelope]) -> None:
        os.write(file, "".join(f"{each.stream} {name_of(each.command_id)}\n" for each in envelopes).encode())
        time.sleep(0.02)

    with working(lanes.broker(), execute):
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
