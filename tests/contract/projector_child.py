"""A projector in a process of its own, to be killed: `python -m tests.contract.projector_child URL COUNT`.

The log is in memory and the same in every life: COUNT events, each to one of a few names. It says "head" when it got there.
"""

from __future__ import annotations

import sys
import threading

from tests.contract.projections import Bugs, Log, Said, domain, projector, reached, running, until
from twofold.kernel.ports import ViewStore
from twofold.readmodels.stores.redis import connect as connect_redis
from twofold.readmodels.stores.sql import SqlViewStore, connect

NAMES = tuple(f"n{number}" for number in range(7))
SLICES = 3
PAGE_EVENTS = 7


def log_of(count: int) -> Log:
    log = Log()
    for number in range(count):
        log.append(Said((NAMES[number % 7], NAMES[number % 5]), f"w{number}"))
    return log


def store_at(url: str) -> ViewStore:
    if url.startswith("redis"):
        address, _, prefix = url.rpartition("#")
        return connect_redis(address, prefix, 4)
    return SqlViewStore(connect(url, 4))


def main(url: str, count: int) -> None:
    codec, view, _ = domain(Bugs(), "redis" if url.startswith("redis") else "sql")
    store = store_at(url)
    generation = store.make(view, SLICES)
    with running(projector(log_of(count), store, (view,), codec, PAGE_EVENTS), generation.slice_ids()):
        print("started", flush=True)
        until(reached(store, generation, count), "the head")
        print("head", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
