"""The stock of one product: what may be promised to orders, and who it is promised to.

    ReceiveStock ──> on hand ── ReserveStock ──> reserved ── IssueStock ──> out of the house
    AdjustStock ───> on hand          ^──── ReleaseStock ────┘

On hand are pieces that came in (or were found), less those that were issued (or lost). 0 <= reserved <= on hand, always: a loss
takes what is not promised, and no more than there is. So losses of goods that nobody told us had come in, as old invoices hold
them, take nothing; `inventory` counts those, too (docs/decisions/0032).

Orders that are fulfilled by hand take nothing from here. Receiving or adjusting by the same quantity again is a second time;
that one command counts once is the inbox's promise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.values import QUANTITY_MAX, Id, Moment, Pieces, Text, Word, keep_in_utc

SETTLED_MAX = 200
"""Orders whose pieces were issued or released lately are remembered, so that a reservation that is asked for again takes none."""


class StockAdjusted(Event, frozen=True):
    """`quantity` is negative for lost pieces. `adjusted_at` is None when the command named no time."""

    sku: str
    quantity: int
    reason: str
    adjusted_at: datetime | None


class StockReceived(Event, frozen=True):
    sku: str
    quantity: int
    reference: str


class StockReserved(Event, frozen=True):
    sku: str
    order_id: str
    quantity: int


class StockReleased(Event, frozen=True):
    """They may be promised again."""

    sku: str
    order_id: str
    quantity: int
    reason: str


class StockIssued(Event, frozen=True):
    """They have left the house."""

    sku: str
    order_id: str
    quantity: int


class AdjustStock(Command, frozen=True):
    sku: Id
    quantity: Annotated[int, Meta(ge=-QUANTITY_MAX, le=QUANTITY_MAX)]
    reason: Text
    adjusted_at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "adjusted_at")


class ReceiveStock(Command, frozen=True):
    """`reference` says what they came with: a delivery note, a returned order."""

    sku: Id
    quantity: Pieces
    reference: Word = ""


class ReserveStock(Command, frozen=True):
    """All of it or nothing. Of one product an order reserves once: the sum of its lines."""

    sku: Id
    order_id: Id
    quantity: Pieces


class ReleaseStock(Command, frozen=True):
    sku: Id
    order_id: Id
    reason: Text


class IssueStock(Command, frozen=True):
    sku: Id
    order_id: Id


class Stock(msgspec.Struct, frozen=True):
    """`reserved` by order; `issued` and `released` are the last orders of which that is so."""

    on_hand: int = 0
    reserved: dict[str, int] = {}
    issued: tuple[str, ...] = ()
    released: tuple[str, ...] = ()

    @property
    def available(self) -> int:
        return self.on_hand - sum(self.reserved.values())


def on_hand_after(on_hand: int, reserved: int, adjusted: int) -> int:
    """What an adjustment leaves of so many pieces, of which so many are promised."""
    return max(on_hand + adjusted, min(on_hand, reserved))


def decide(stock: Stock, command: Command) -> list[Event]:
    match command:
        case AdjustStock(sku, quantity, reason, adjusted_at):
            return [StockAdjusted(sku, quantity, reason, adjusted_at)] if quantity else []
        case ReceiveStock(sku, quantity, reference):
            return [StockReceived(sku, quantity, reference)]
        case ReserveStock():
            return _reserve(stock, command)
        case ReleaseStock(sku, order_id, reason):
            quantity = stock.reserved.get(order_id, 0)
            return [StockReleased(sku, order_id, quantity, reason)] if quantity else []
        case IssueStock():
            return _issue(stock, command)
    raise TypeError(type(command).__name__)


def _reserve(stock: Stock, command: ReserveStock) -> list[Event]:
    """Again, it is silent: also when the pieces have gone their way since."""
    order_id, quantity = command.order_id, command.quantity
    if order_id in stock.reserved and stock.reserved[order_id] != quantity:
        raise Rejected("already-reserved", quantity=stock.reserved[order_id])
    if order_id in stock.reserved or order_id in stock.issued or order_id in stock.released:
        return []
    if quantity > stock.available:
        raise Rejected("out-of-stock", available=stock.available)
    return [StockReserved(command.sku, order_id, quantity)]


def _issue(stock: Stock, command: IssueStock) -> list[Event]:
    quantity = stock.reserved.get(command.order_id, 0)
    if quantity:
        return [StockIssued(command.sku, command.order_id, quantity)]
    if command.order_id in stock.issued:
        return []
    raise Rejected("not-reserved")


def evolve(stock: Stock, event: Event) -> Stock:
    match event:
        case StockAdjusted():
            on_hand = on_hand_after(stock.on_hand, sum(stock.reserved.values()), event.quantity)
            return msgspec.structs.replace(stock, on_hand=on_hand)
        case StockReceived():
            return msgspec.structs.replace(stock, on_hand=stock.on_hand + event.quantity)
        case StockReserved():
            return msgspec.structs.replace(stock, reserved={**stock.reserved, event.order_id: event.quantity})
        case StockReleased():
            released = (*stock.released, event.order_id)[-SETTLED_MAX:]
            return msgspec.structs.replace(stock, reserved=_without(stock, event.order_id), released=released)
        case StockIssued():
            on_hand, issued = stock.on_hand - event.quantity, (*stock.issued, event.order_id)[-SETTLED_MAX:]
            return msgspec.structs.replace(stock, on_hand=on_hand, reserved=_without(stock, event.order_id), issued=issued)
    return stock


def _without(stock: Stock, order_id: str) -> dict[str, int]:
    return {one: quantity for one, quantity in stock.reserved.items() if one != order_id}


STOCK = Decider(
    name="stock",
    key="sku",
    commands=(AdjustStock, ReceiveStock, ReserveStock, ReleaseStock, IssueStock),
    events=(StockAdjusted, StockReceived, StockReserved, StockReleased, StockIssued),
    initial=Stock(),
    decide=decide,
    evolve=evolve,
    internal=(ReserveStock, ReleaseStock, IssueStock),
)
