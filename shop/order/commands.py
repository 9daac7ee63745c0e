"""What can be wished of an order."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from twofold.kernel.messages import Command
from twofold.shop.pieces import ReturnLine
from twofold.shop.values import (
    LINES_MAX,
    PAYMENT_TOKEN,
    Currency,
    Id,
    Moment,
    OrderLines,
    ShippingAddress,
    Text,
    Word,
    keep_in_utc,
)

Fulfilment = Literal["automatic", "none"]


class PlaceOrder(Command, frozen=True):
    """`payment_token` counts where fulfilment is automatic."""

    order_id: Id
    customer_id: Id
    lines: OrderLines
    shipping_address: ShippingAddress
    currency: Currency = "GBP"
    placed_at: Moment | None = None
    fulfilment: Fulfilment = "automatic"
    payment_token: Id = PAYMENT_TOKEN

    def __post_init__(self) -> None:
        keep_in_utc(self, "placed_at")


class ConfirmOrder(Command, frozen=True):
    """Sent by the fulfilment, when all is reserved and paid for."""

    order_id: Id


class CancelOrder(Command, frozen=True):
    order_id: Id
    reason: Text


class UpdateShippingAddress(Command, frozen=True):
    order_id: Id
    shipping_address: ShippingAddress


class ShipOrder(Command, frozen=True):
    order_id: Id
    carrier: Id
    tracking_number: Id
    shipped_at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "shipped_at")


class RecordTracking(Command, frozen=True):
    """One step on the way, in the carrier's own words."""

    order_id: Id
    status: Id
    place: Word = ""
    at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "at")


class DeliverOrder(Command, frozen=True):
    order_id: Id
    delivered_at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "delivered_at")


class ReturnOrder(Command, frozen=True):
    """Without `lines`: everything that is not back yet."""

    order_id: Id
    reason: Text
    lines: Annotated[tuple[ReturnLine, ...], Meta(min_length=1, max_length=LINES_MAX)] | None = None
