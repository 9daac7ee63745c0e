"""The port to a payment provider. Every call carries a key: asked the same again, the provider does nothing again and says the
same. Amounts are minor units. Calls block, for `timeout_seconds` at most.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from twofold.kernel.effects import CallRefused


class ProviderAway(Exception):
    """It did not answer. It may have done what it was asked for: ask again, under the same key."""


class ProviderRefused(CallRefused):
    """It answered that this cannot be: asking again does not change it."""


class Authorisation(msgspec.Struct, frozen=True):
    """What it said of a wish to hold somebody's money. `reference` is its own name for what it holds, "" when it declines."""

    approved: bool
    reference: str
    reason: str = ""


class PaymentProvider(Protocol):
    def authorise(
        self, key: str, payment_id: str, amount: int, currency: str, token: str, timeout_seconds: float
    ) -> Authorisation:
        """Hold this much of whom the token stands for, or decline. Raises ProviderAway."""

    def capture(self, key: str, reference: str, amount: int, timeout_seconds: float) -> None:
        """Take this much of what is held, once; the rest is let go. Raises ProviderAway, ProviderRefused."""

    def void(self, key: str, payment_id: str, reference: str, timeout_seconds: float) -> None:
        """Let go what is held for the payment, all of it when `reference` is "", and decline what is asked for it later. Raises
        ProviderAway; ProviderRefused for what was captured."""

    def refund(self, key: str, reference: str, amount: int, timeout_seconds: float) -> None:
        """Give back this much of what was captured; more than once, under another key each time, while there is enough. Raises
        ProviderAway, ProviderRefused."""
