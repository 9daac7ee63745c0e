"""The simulated provider behaves as its token says, does everything once by key, and remembers it over restarts and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twofold.shop.outside import simulated
from twofold.shop.outside.books import Holding
from twofold.shop.outside.provider import Authorisation, ProviderAway, ProviderRefused
from twofold.shop.outside.simulated import SimulatedProvider

SECONDS = 5.0


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[SimulatedProvider]:
    made = SimulatedProvider(tmp_path)
    yield made
    made.close()


def authorised(provider: SimulatedProvider, key: str = "k", token: str = "tok_ok", amount: int = 100) -> str:
    return provider.authorise(key, f"pay-{key}", amount, "GBP", token, SECONDS).reference


def test_it_says_yes_and_no_by_token_and_the_same_again_by_key(provider: SimulatedProvider) -> None:
    first = provider.authorise("a", "p1", 100, "GBP", "tok_ok", SECONDS)
    assert first.approved and first.reference
    assert provider.authorise("a", "p1", 100, "GBP", "tok_ok", SECONDS) == first
    assert provider.authorise("b", "p2", 100, "GBP", "tok_ok", SECONDS).reference != first.reference
    assert provider.authorise("c", "p3", 100, "GBP", "tok_declined", SECONDS) == Authorisation(False, "", "card declined")
    assert provider.authorise("d", "p4", 100, "GBP", "4111", SECONDS) == Authorisation(False, "", "no such card")
    assert [holding.payment_id for holding in provider.holdings()] == ["p1", "p2"]


def test_a_key_stands_for_one_wish(provider: SimulatedProvider) -> None:
    reference = authorised(provider)
    with pytest.raises(ProviderRefused):
        provider.authorise("k", "pay-k", 101, "GBP", "tok_ok", SECONDS)
    provider.capture("c", reference, 100, SECONDS)
    with pytest.raises(ProviderRefused):
        provider.refund("c", reference, 100, SECONDS)


def test_the_flaky_one_fails_twice_under_each_key_whatever_it_is_asked(provider: SimulatedProvider) -> None:
    for _ in range(2):
        with pytest.raises(ProviderAway):
            authorised(provider, token="tok_flaky")
    reference = authorised(provider, token="tok_flaky")
    for _ in range(2):
        with pytest.raises(ProviderAway):
            provider.capture("c", reference, 100, SECONDS)
    provider.capture("c", reference, 100, SECONDS)
    assert provider.holdings() == [Holding("pay-k", reference, "tok_flaky", 100, captured=100, times_captured=1)]


def test_the_hanging_one_takes_the_time_it_is_given_and_does_nothing(provider: SimulatedProvider) -> None:
    started = time.monotonic()
    with pytest.raises(ProviderAway, match="no answer within"):
        provider.authorise("a", "p", 100, "GBP", "tok_hang", 0.05)
    assert 0.05 <= time.monotonic() - started < 2
    assert provider.holdings() == []


def test_the_slow_one_answers_late_or_too_late(provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "SLOW_SECONDS", 0.05)
    with pytest.raises(ProviderAway):
        provider.authorise("a", "p", 100, "GBP", "tok_slow", 0.01)
    started = time.monotonic()
    assert provider.authorise("a", "p", 100, "GBP", "tok_slow", 1.0).approved
    assert time.monotonic() - started >= 0.05


def test_nobody_answers_while_it_is_away(provider: SimulatedProvider, tmp_path: Path) -> None:
    reference = authorised(provider)
    (tmp_path / "away").touch()
    with pytest.raises(ProviderAway):
        authorised(provider, "x")
    with pytest.raises(ProviderAway):
        provider.capture("c", reference, 100, SECONDS)
    (tmp_path / "away").unlink()
    provider.capture("c", reference, 100, SECONDS)


def test_money_moves_once_by_key_and_never_more_than_there_is(provider: SimulatedProvider) -> None:
    reference = authorised(provider)
    for _ in range(3):
        provider.capture("c", reference, 80, SECONDS)
        provider.refund("r1", reference, 30, SECONDS)
    provider.refund("r2", reference, 50, SECONDS)
    refused: list[Callable[[], object]] = [
        lambda: provider.refund("r3", reference, 1, SECONDS),
        lambda: provider.capture("c2", reference, 1, SECONDS),
        lambda: provider.void("v", "pay-k", reference, SECONDS),
        lambda: provider.capture("c3", "auth-unknown", 1, SECONDS),
        lambda: provider.capture("c4", authorised(provider, "k2"), 101, SECONDS),
    ]
    for act in refused:
        with pytest.raises(ProviderRefused):
            act()
    assert provider.holdings()[0] == Holding("pay-k", reference, "tok_ok", 100, 80, 80, times_captured=1)


def test_what_is_voided_is_let_go_for_good(provider: SimulatedProvider) -> None:
    reference = authorised(provider)
    provider.void("v", "pay-k", reference, SECONDS)
    provider.void("v2", "pay-k", "", SECONDS)
    with pytest.raises(ProviderRefused, match="voided"):
        provider.capture("c", reference, 1, SECONDS)
    assert provider.holdings()[0].is_voided


def test_a_payment_that_was_voided_before_anybody_answered_is_declined(provider: SimulatedProvider) -> None:
    """Nothing is held yet, and nothing will be: not even the hanging one is waited for any more."""
    provider.void("v", "p", "", SECONDS)
    for token in ("tok_ok", "tok_hang"):
        assert provider.authorise(token, "p", 100, "GBP", token, SECONDS) == Authorisation(False, "", "voided")
    assert provider.holdings() == []


def test_it_remembers_over_a_restart_also_one_that_cut_its_last_line(tmp_path: Path) -> None:
    first = SimulatedProvider(tmp_path)
    reference = authorised(first)
    first.capture("c", reference, 100, SECONDS)
    before = first.holdings()
    first.close()
    with (tmp_path / "payments.jsonl").open("ab") as file:
        file.write(b'{"key":"r1","act":"refunded","refer')
    second = SimulatedProvider(tmp_path)
    assert second.holdings() == before
    second.capture("c", reference, 100, SECONDS)
    second.refund("r1", reference, 100, SECONDS)
    third = SimulatedProvider(tmp_path)
    assert third.holdings() == second.holdings() and third.holdings()[0].refunded == 100


def test_processes_side_by_side_do_it_once_between_them(tmp_path: Path) -> None:
    """Each has the books open for itself, as two processes have."""
    both = [SimulatedProvider(tmp_path) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda number: authorised(both[number % 2], f"k{number // 4}"), range(80)))
    assert len(set(said)) == 20
    assert both[0].holdings() == both[1].holdings() and len(both[0].holdings()) == 20
