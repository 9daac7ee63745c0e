"""When a fact happened: the time it names, else the time it was recorded."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.kernel.view import About
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned
from twofold.shop.returns import ReturnRecorded

Sale = OrderPlaced
Refund = OrderCancelled | OrderReturned | ReturnRecorded


def happened_at(event: Sale | Refund, about: About) -> datetime:
    """UTC."""
    named: datetime | None = None
    if isinstance(event, OrderPlaced):
        named = event.placed_at
    elif isinstance(event, ReturnRecorded):
        named = event.returned_at
    return (named or about.recorded_at).astimezone(UTC)
