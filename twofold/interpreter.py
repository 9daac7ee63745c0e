"""How this process uses its interpreter and its machine: one lock, one core, memory not looked at in vain, all files it may."""

from __future__ import annotations

import gc
import os
import resource
import sys

SWITCH_SECONDS = 0.001
"""Python's 5 ms turn is long for a loop that shares its process with worker threads (`make bench`, embedded rows)."""

GARBAGE_THRESHOLDS = 2_000, 10, 100
"""Allocations between two looks for cycles among what is new, and how many of those looks make one among what is older. Each
holds up every thread of the process: a short one is not felt, one among all that ten thousand who wait keep alive takes a second.
An answer leaves no cycles (tests/system/test_gateway_garbage.py), so that one may be rare."""


def share_the_interpreter() -> None:
    """A loop that answers and threads that work, in one process."""
    sys.setswitchinterval(SWITCH_SECONDS)
    stay_on_one_core()


def stay_on_one_core() -> None:
    """One interpreter lock is one core's worth of work; handing it from core to core costs a third of that
    (docs/decisions/0007)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def take_all_files() -> None:
    """As many open files as this process may have: each client is one. Systems begin with a thousand, for programs that count
    them in a fixed table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def settle() -> None:
    """What start-up made stays for good: keep the garbage collector from walking over it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
