"""What a clock promises, the system's and the one that tests move by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from twofold.deployment import SystemClock
from twofold.kernel.members import Member
from twofold.kernel.ports import Clock
from twofold.testing.clock import NOON, ManualClock
from twofold.testing.memory_log import MemoryLeases


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=lambda clock: type(clock).__name__)
def test_a_clock_tells_utc_and_never_goes_back(clock: Clock) -> None:
    """It is compared with what was recorded, by whoever recorded it."""
    times = [clock.now() for _ in range(100)]
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {timedelta(0)}


def test_time_moves_when_the_test_says_so() -> None:
    """Terms, ticks and back-offs are tested without waiting for them."""
    clock = ManualClock()
    leases = MemoryLeases(clock.seconds)
    leases.renew(Member("workers", "a"), ["lane-0"], 10.0)
    clock.advance(9.5)
    assert leases.renew(Member("workers", "b"), ["lane-0"], 10.0) == {}
    clock.advance(0.5)
    assert leases.renew(Member("workers", "b"), ["lane-0"], 10.0) == {"lane-0": 2}
    assert (clock.now(), clock.seconds()) == (NOON + timedelta(seconds=10), 10.0)
    with pytest.raises(ValueError, match="back in time"):
        clock.advance(-1)
