"""What happened to an order. Events that concern its customer's views name the customer: a fold sees one event at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from twofold.kernel.messages import Event
from twofold.shop.pieces import ReturnedLine
from twofold.shop.values import PAYMENT_TOKEN, Address, Line

Status = Literal["placed", "confirmed", "shipped", "delivered", "cancelled", "partly-returned", "returned"]


class OrderPlaced(Event, frozen=True, omit_defaults=True):
    """`placed_at` is None when the command named no time: then it was placed when it was recorded.

    `payment_token` is what an order that is fulfilled automatically is paid with; the usual one is not written down, nor is
    there any in orders from before.
    """

    order_id: str
    customer_id: str
    lines: tuple[Line, ...]
    shipping_address: Address
    currency: str
    placed_at: datetime | None
    fulfilment: str
    units: int
    total: int
    payment_token: str = PAYMENT_TOKEN


class OrderConfirmed(Event, frozen=True):
    """Every piece is reserved and the money is promised: it may leave the house."""

    order_id: str
    customer_id: str


class OrderCancelled(Event, frozen=True):
    """The whole order is void: all pieces go back to the stock, all money to the customer.

    `country`, here and in OrderReturned, is where the order was placed for, so that sale and refund meet in one sum.
    """

    order_id: str
    customer_id: str
    country: str
    lines: tuple[Line, ...]
    units: int
    total: int
    reason: str


class ShippingAddressUpdated(Event, frozen=True):
    order_id: str
    shipping_address: Address


class OrderShipped(Event, frozen=True):
    """`shipped_at`, and the times of the two below, are None when the command named none: then it was when it was recorded."""

    order_id: str
    customer_id: str
    carrier: str
    tracking_number: str
    shipped_at: datetime | None


class TrackingRecorded(Event, frozen=True):
    """One step on the way, as the carrier tells it; `place` is empty when it does not say where."""

    order_id: str
    status: str
    place: str
    at: datetime | None


class OrderDelivered(Event, frozen=True):
    order_id: str
    customer_id: str
    delivered_at: datetime | None


class OrderReturned(Event, frozen=True):
    """Pieces came back; `is_complete` when none is left with the customer."""

    order_id: str
    customer_id: str
    country: str
    lines: tuple[ReturnedLine, ...]
    units: int
    total: int
    reason: str
    is_complete: bool
