"""A process that performs payments until it is killed: `python -m tests.system.faults.performing_child KIND WHERE PREFIX FOLDER`.

The provider's books and what was sent stand in FOLDER, and outlive it. It dawdles before and after each act, so that a kill finds
calls under way, answered and not sent, sent and not settled, and waiting for their next try.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import twofold.processes.performing
from tests.contract.callqueues import AnyCallQueue, EmbeddedCallQueue, RabbitCallQueue
from twofold.bus.effects.dispatch import EffectBroker, declare_effects, start_performers
from twofold.deployment import SystemClock
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.envelope import Envelope
from twofold.processes.performing import Performing

THREADS = 8
EFFECTS = ("authorise", "notify")


def main(kind: str, where: str, prefix: str, folder: str) -> None:
    twofold.processes.performing.PAUSE_SECONDS = 0.05
    queue = open_queue(kind, where, prefix)
    sent = os.open(Path(folder) / "sent", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    broker: EffectBroker = queue.broker()

    def send(envelopes: Sequence[Envelope]) -> None:
        dawdle()
        for envelope in envelopes:
            os.write(sent, f"{envelope.command_id} {envelope.type} {envelope.stream} {bytes(envelope.data).decode()}\n".encode())
        dawdle()

    domain = load_domain("twofold.shop")
    settings = {"TWOFOLD_PROVIDER_DATA": folder, "TWOFOLD_NOTIFY_URL": f"file:{folder}/notices"}
    performing = Performing(domain, Codec(domain), SystemClock(), settings, send)
    declare_effects(broker, EFFECTS, performing.perform, performing.admits)
    start_performers(broker, THREADS)
    while True:
        time.sleep(1)


def open_queue(kind: str, where: str, prefix: str) -> AnyCallQueue:
    return RabbitCallQueue(where, prefix, EFFECTS) if kind == "rabbit" else EmbeddedCallQueue(Path(where), EFFECTS)


def dawdle() -> None:
    time.sleep(random.uniform(0.0, 0.01))


if __name__ == "__main__":
    main(*sys.argv[1:])
