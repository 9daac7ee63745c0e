"""The order: what happened to it (events.py), what is wished (commands.py), and what becomes of a wish (decider.py)."""

from twofold.shop.order.commands import (
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    PlaceOrder,
    RecordTracking,
    ReturnOrder,
    ShipOrder,
    UpdateShippingAddress,
)
from twofold.shop.order.decider import ORDER, STEPS_MAX, Order
from twofold.shop.order.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderReturned,
    OrderShipped,
    ShippingAddressUpdated,
    Status,
    TrackingRecorded,
)

__all__ = [
    "ORDER",
    "STEPS_MAX",
    "CancelOrder",
    "ConfirmOrder",
    "DeliverOrder",
    "Order",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderDelivered",
    "OrderPlaced",
    "OrderReturned",
    "OrderShipped",
    "PlaceOrder",
    "RecordTracking",
    "ReturnOrder",
    "ShipOrder",
    "ShippingAddressUpdated",
    "Status",
    "TrackingRecorded",
    "UpdateShippingAddress",
]
