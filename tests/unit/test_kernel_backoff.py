"""How long to wait before something is tried again."""

from __future__ import annotations

from twofold.kernel.backoff import Backoff


def test_each_failure_doubles_the_wait_up_to_the_bound() -> None:
    backoff = Backoff(0.5, 3.0)
    assert backoff.seconds == 0.0
    assert [backoff.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.seconds == 3.0


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.failed(), backoff.failed()
    backoff.succeeded()
    assert (backoff.seconds, backoff.failed()) == (0.0, 0.5)
