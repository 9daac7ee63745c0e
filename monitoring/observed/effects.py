"""Calls to the outside, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twofold.monitoring.metrics import Metrics

CALL_OUTCOMES = ("succeeded", "failed", "timed_out", "given_up")


def effect_counter(metrics: Metrics, effects: Iterable[str]) -> Callable[[str, str], None]:
    """Called with each try's effect and what came of it."""
    for effect in effects:
        for outcome in CALL_OUTCOMES:
            metrics.effect_calls.labels(effect, outcome)
    return lambda effect, outcome: metrics.effect_calls.labels(effect, outcome).inc()


def observe_breakers(metrics: Metrics, effects: Iterable[str], is_resting: Callable[[str], bool]) -> None:
    """`is_resting` is asked when somebody scrapes."""

    def value_of(effect: str) -> Callable[[], float]:
        return lambda: float(is_resting(effect))

    for effect in effects:
        metrics.effect_breaker_open.labels(effect).set_function(value_of(effect))
