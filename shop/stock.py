"""The stock of one product: pieces found, lost or written off. What orders and returns move is not adjusted here.

Adjusting by the same quantity again is a second adjustment; that one command counts once is the inbox's promise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.shop.values import QUANTITY_MAX, Id, Moment, Text, keep_in_utc


class StockAdjusted(Event, frozen=True):
    """`quantity` is negative for lost pieces. `adjusted_at` is None when the command named no time."""

    sku: str
    quantity: int
    reason: str
    adjusted_at: datetime | None


class AdjustStock(Command, frozen=True):
    sku: Id
    quantity: Annotated[int, Meta(ge=-QUANTITY_MAX, le=QUANTITY_MAX)]
    reason: Text
    adjusted_at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "adjusted_at")


def decide(adjusted: int, command: AdjustStock) -> list[StockAdjusted]:
    if command.quantity == 0:
        return []
    return [StockAdjusted(command.sku, command.quantity, command.reason, command.adjusted_at)]


def evolve(adjusted: int, event: StockAdjusted) -> int:
    return adjusted + event.quantity


STOCK = Decider[int, AdjustStock, StockAdjusted](
    name="stock",
    key="sku",
    commands=(AdjustStock,),
    events=(StockAdjusted,),
    initial=0,
    decide=decide,
    evolve=evolve,
)
