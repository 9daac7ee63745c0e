"""A breaker asks whoever does not answer less and less often, and lets one try tell whether he is back."""

from __future__ import annotations

from twofold.processes.breaker import FAILED_CALLS_MAX, REST_SECONDS, REST_SECONDS_MAX, Breaker
from twofold.testing.clock import ManualClock


def broken(clock: ManualClock) -> Breaker:
    breaker = Breaker(clock.seconds)
    for number in range(FAILED_CALLS_MAX):
        breaker.failed(f"{number}")
    return breaker


def test_failures_in_a_row_open_it_and_others_do_not() -> None:
    breaker = Breaker(ManualClock().seconds)
    for _ in range(3):
        told = [breaker.failed(f"{number}") for number in range(FAILED_CALLS_MAX - 1)]
        assert told == [False] * (FAILED_CALLS_MAX - 1)
        breaker.succeeded()
    assert breaker.admits() and not breaker.is_open


def test_one_call_that_fails_again_and_again_says_nothing_of_the_others() -> None:
    """It may have itself to blame: a card that makes the provider hang."""
    breaker = Breaker(ManualClock().seconds)
    for _ in range(10 * FAILED_CALLS_MAX):
        assert not breaker.failed("the same")
    assert breaker.admits()


def test_it_says_once_that_it_rests() -> None:
    breaker = Breaker(ManualClock().seconds)
    assert [breaker.failed(f"{number}") for number in range(FAILED_CALLS_MAX + 2)] == [False] * (FAILED_CALLS_MAX - 1) + [
        True,
        False,
        False,
    ]
    assert breaker.is_open


def test_nobody_asks_while_it_rests_and_one_does_when_that_is_over() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(REST_SECONDS - 0.125)
    assert not breaker.admits()
    clock.advance(0.125)
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert not breaker.is_open and all(breaker.admits() for _ in range(3))


def test_a_try_that_fails_lets_it_rest_for_longer_up_to_a_bound() -> None:
    clock = ManualClock()
    breaker, rests = broken(clock), []
    for _ in range(6):
        rest = 0.0
        while not breaker.admits():
            clock.advance(1.0)
            rest += 1.0
        rests.append(rest)
        assert breaker.failed("x") is False and breaker.is_open
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert rests[-1] == REST_SECONDS_MAX


def test_after_a_success_it_begins_with_a_short_rest_again() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(REST_SECONDS)
    assert breaker.admits()
    breaker.failed("x")
    clock.advance(2 * REST_SECONDS)
    assert breaker.admits()
    breaker.succeeded()
    for number in range(FAILED_CALLS_MAX):
        breaker.failed(f"{number}")
    clock.advance(REST_SECONDS)
    assert breaker.admits()


def test_what_was_asked_before_the_rest_and_fails_in_it_makes_it_no_longer() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(REST_SECONDS / 2)
    breaker.failed("x")
    clock.advance(REST_SECONDS / 2)
    assert breaker.admits()


def test_whoever_was_admitted_and_did_not_ask_leaves_his_turn_to_the_next() -> None:
    clock = ManualClock()
    breaker = broken(clock)
    clock.advance(REST_SECONDS)
    assert breaker.admits() and not breaker.admits()
    breaker.not_asked()
    assert breaker.admits()
