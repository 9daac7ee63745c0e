"""The order: placed once, then confirmed, shipped and delivered, or cancelled; what was sent can come back.

    (none) ── PlaceOrder ──> placed ── ConfirmOrder ──> confirmed ── ShipOrder ──> shipped ── DeliverOrder ──> delivered
                               └──────── CancelOrder ──────┴──> cancelled             └──── ReturnOrder ────────┤
                                                                                                                v
                                                             returned <── ReturnOrder ── partly-returned <── some of it

An order that is fulfilled by hand (`fulfilment` none) skips what it likes: nobody tells us when it is confirmed or leaves the
house, so it can be shipped or returned as soon as it is placed. Whoever is placed or confirmed can be cancelled or readdressed.
"""

from __future__ import annotations

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
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
from twofold.shop.pieces import ReturnedLine, by_sku, left_after, left_by_sku, taken
from twofold.shop.values import PAYMENT_TOKEN, Address, address_of, lines_of, total_of, units_of

STEPS_MAX = 100
"""Of tracking, for one order: they are one row, and one state."""
OPEN = ("placed", "confirmed")
"""In the house, and wanted."""


class Order(msgspec.Struct, frozen=True):
    """`left` is, line by line, how many pieces are not back yet."""

    placed: OrderPlaced
    shipping_address: Address
    left: tuple[int, ...]
    status: Status = "placed"
    last_return: tuple[ReturnedLine, ...] = ()
    is_confirmed: bool = False
    shipped: OrderShipped | None = None
    steps: tuple[TrackingRecorded, ...] = ()

    @property
    def is_automatic(self) -> bool:
        return self.placed.fulfilment == "automatic"


def decide(order: Order | None, command: Command) -> list[Event]:
    if isinstance(command, PlaceOrder):
        return _place(order, command)
    if order is None:
        raise Rejected("no-such-order")
    match command:
        case ConfirmOrder():
            return _confirm(order, command)
        case CancelOrder():
            return _cancel(order, command)
        case UpdateShippingAddress():
            return _readdress(order, command)
        case ShipOrder():
            return _ship(order, command)
        case RecordTracking():
            return _track(order, command)
        case DeliverOrder():
            return _deliver(order, command)
        case ReturnOrder():
            return _return(order, command)
    raise TypeError(type(command).__name__)


def _place(order: Order | None, command: PlaceOrder) -> list[Event]:
    lines = lines_of(command.lines)
    placed = OrderPlaced(
        order_id=command.order_id,
        customer_id=command.customer_id,
        lines=lines,
        shipping_address=address_of(command.shipping_address),
        currency=command.currency,
        placed_at=command.placed_at,
        fulfilment=command.fulfilment,
        units=units_of(lines),
        total=total_of(lines),
        payment_token=command.payment_token if command.fulfilment == "automatic" else PAYMENT_TOKEN,
    )
    if order is None:
        return [placed]
    if order.placed == placed:
        return []
    raise Rejected("already-placed")


def _confirm(order: Order, command: ConfirmOrder) -> list[Event]:
    if order.is_confirmed:
        return []
    _refuse_closed(order)
    return [OrderConfirmed(command.order_id, order.placed.customer_id)]


def _cancel(order: Order, command: CancelOrder) -> list[Event]:
    if order.status == "cancelled":
        return []
    _refuse_closed(order)
    placed = order.placed
    country = placed.shipping_address.country
    return [
        OrderCancelled(command.order_id, placed.customer_id, country, placed.lines, placed.units, placed.total, command.reason)
    ]


def _readdress(order: Order, command: UpdateShippingAddress) -> list[Event]:
    address = address_of(command.shipping_address)
    if address == order.shipping_address:
        return []
    _refuse_closed(order)
    return [ShippingAddressUpdated(command.order_id, address)]


def _ship(order: Order, command: ShipOrder) -> list[Event]:
    customer_id = order.placed.customer_id
    shipped = OrderShipped(command.order_id, customer_id, command.carrier, command.tracking_number, command.shipped_at)
    if order.shipped is not None:
        if order.shipped == shipped:
            return []
        raise Rejected("already-shipped", carrier=order.shipped.carrier, tracking_number=order.shipped.tracking_number)
    _refuse_closed(order)
    if order.is_automatic and not order.is_confirmed:
        raise Rejected("not-confirmed", status=order.status)
    return [shipped]


def _track(order: Order, command: RecordTracking) -> list[Event]:
    """The same step at the same time is one step; without a time, it is one as long as nothing else was told since."""
    if order.shipped is None:
        raise Rejected("not-shipped", status=order.status)
    step = TrackingRecorded(command.order_id, command.status, command.place, command.at)
    if step in (order.steps[-1:] if command.at is None else order.steps):
        return []
    if len(order.steps) >= STEPS_MAX:
        raise Rejected("too-many-steps", maximum=STEPS_MAX)
    return [step]


def _deliver(order: Order, command: DeliverOrder) -> list[Event]:
    """What has come back needs no delivery any more."""
    if order.shipped is None:
        raise Rejected("not-shipped", status=order.status)
    if order.status != "shipped":
        return []
    return [OrderDelivered(command.order_id, order.placed.customer_id, command.delivered_at)]


def _return(order: Order, command: ReturnOrder) -> list[Event]:
    placed = order.placed
    if order.status == "cancelled":
        raise Rejected("order-closed", status=order.status)
    if order.is_automatic and order.status in OPEN:
        raise Rejected("not-shipped", status=order.status)
    left = left_by_sku(placed.lines, order.left)
    wanted = left if command.lines is None else by_sku(command.lines)
    if order.status == "returned" and (not wanted or wanted == by_sku(order.last_return)):
        return []
    for sku, quantity in wanted.items():
        if quantity > left.get(sku, 0):
            raise Rejected("more-than-ordered", sku=sku, quantity=quantity, left=left.get(sku, 0))
    lines = tuple(taken(placed.lines, order.left, wanted))
    return [
        OrderReturned(
            order_id=command.order_id,
            customer_id=placed.customer_id,
            country=placed.shipping_address.country,
            lines=lines,
            units=units_of(lines),
            total=total_of(lines),
            reason=command.reason,
            is_complete=wanted == left,
        )
    ]


def _refuse_closed(order: Order) -> None:
    if order.status not in OPEN:
        raise Rejected("order-closed", status=order.status)


def evolve(order: Order | None, event: Event) -> Order | None:
    if isinstance(event, OrderPlaced):
        return Order(event, event.shipping_address, tuple([line.quantity for line in event.lines]))
    if order is None:
        return None
    match event:
        case OrderConfirmed():
            return msgspec.structs.replace(order, status="confirmed", is_confirmed=True)
        case OrderCancelled():
            return msgspec.structs.replace(order, status="cancelled")
        case ShippingAddressUpdated():
            return msgspec.structs.replace(order, shipping_address=event.shipping_address)
        case OrderShipped():
            return msgspec.structs.replace(order, status="shipped", shipped=event)
        case TrackingRecorded():
            return msgspec.structs.replace(order, steps=(*order.steps, event))
        case OrderDelivered():
            return msgspec.structs.replace(order, status="delivered")
        case OrderReturned():
            status = "returned" if event.is_complete else "partly-returned"
            left = left_after(order.left, event.lines)
            return msgspec.structs.replace(order, status=status, left=left, last_return=event.lines)
    return order


ORDER = Decider(
    name="order",
    key="order_id",
    commands=(PlaceOrder, ConfirmOrder, CancelOrder, UpdateShippingAddress, ShipOrder, RecordTracking, DeliverOrder, ReturnOrder),
    events=(
        OrderPlaced,
        OrderConfirmed,
        OrderCancelled,
        ShippingAddressUpdated,
        OrderShipped,
        TrackingRecorded,
        OrderDelivered,
        OrderReturned,
    ),
    initial=None,
    decide=decide,
    evolve=evolve,
    internal=(ConfirmOrder,),
)
