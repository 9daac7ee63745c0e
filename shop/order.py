"""The order: placed once, then cancelled, readdressed or returned.

    (none) ── PlaceOrder ──> placed ── CancelOrder ──> cancelled
                               │
                               └── ReturnOrder ──> partly-returned ── ReturnOrder ──> returned

Only an order that is still `placed` can be cancelled or readdressed: a status that says it has left the house, when one
comes, closes it by itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.pieces import ReturnedLine, ReturnLine, by_sku, left_after, left_by_sku, taken
from twofold.shop.values import (
    LINES_MAX,
    Address,
    Currency,
    Id,
    Line,
    Moment,
    OrderLines,
    ShippingAddress,
    Text,
    address_of,
    keep_in_utc,
    lines_of,
    total_of,
    units_of,
)

Status = Literal["placed", "cancelled", "partly-returned", "returned"]
Fulfilment = Literal["automatic", "none"]


class OrderPlaced(Event, frozen=True):
    """`placed_at` is None when the command named no time: then it was placed when it was recorded."""

    order_id: str
    customer_id: str
    lines: tuple[Line, ...]
    shipping_address: Address
    currency: str
    placed_at: datetime | None
    fulfilment: str
    units: int
    total: int


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


class PlaceOrder(Command, frozen=True):
    order_id: Id
    customer_id: Id
    lines: OrderLines
    shipping_address: ShippingAddress
    currency: Currency = "GBP"
    placed_at: Moment | None = None
    fulfilment: Fulfilment = "automatic"

    def __post_init__(self) -> None:
        keep_in_utc(self, "placed_at")


class CancelOrder(Command, frozen=True):
    order_id: Id
    reason: Text


class UpdateShippingAddress(Command, frozen=True):
    order_id: Id
    shipping_address: ShippingAddress


class ReturnOrder(Command, frozen=True):
    """Without `lines`: everything that is not back yet."""

    order_id: Id
    reason: Text
    lines: Annotated[tuple[ReturnLine, ...], Meta(min_length=1, max_length=LINES_MAX)] | None = None


class Order(msgspec.Struct, frozen=True):
    """`left` is, line by line, how many pieces are not back yet."""

    placed: OrderPlaced
    shipping_address: Address
    left: tuple[int, ...]
    status: Status = "placed"
    last_return: tuple[ReturnedLine, ...] = ()


def decide(order: Order | None, command: Command) -> list[Event]:
    if isinstance(command, PlaceOrder):
        return _place(order, command)
    if order is None:
        raise Rejected("no-such-order")
    match command:
        case CancelOrder():
            return _cancel(order, command)
        case UpdateShippingAddress():
            return _readdress(order, command)
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
    )
    if order is None:
        return [placed]
    if order.placed == placed:
        return []
    raise Rejected("already-placed")


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


def _return(order: Order, command: ReturnOrder) -> list[Event]:
    placed = order.placed
    if order.status == "cancelled":
        raise Rejected("order-closed", status=order.status)
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
    if order.status != "placed":
        raise Rejected("order-closed", status=order.status)


def evolve(order: Order | None, event: Event) -> Order | None:
    if isinstance(event, OrderPlaced):
        return Order(event, event.shipping_address, tuple([line.quantity for line in event.lines]))
    if order is None:
        return None
    match event:
        case OrderCancelled():
            return msgspec.structs.replace(order, status="cancelled")
        case ShippingAddressUpdated():
            return msgspec.structs.replace(order, shipping_address=event.shipping_address)
        case OrderReturned():
            status = "returned" if event.is_complete else "partly-returned"
            left = left_after(order.left, event.lines)
            return msgspec.structs.replace(order, status=status, left=left, last_return=event.lines)
    return order


ORDER = Decider(
    name="order",
    key="order_id",
    commands=(PlaceOrder, CancelOrder, UpdateShippingAddress, ReturnOrder),
    events=(OrderPlaced, OrderCancelled, ShippingAddressUpdated, OrderReturned),
    initial=None,
    decide=decide,
    evolve=evolve,
)
