"""`stock`: what can be promised of each product. Inline, in the command's own transaction: it shows what the next order finds."""

from __future__ import annotations

from typing import get_args

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.stock import StockAdjusted, StockIssued, StockReceived, StockReleased, StockReserved, on_hand_after

Changed = StockAdjusted | StockReceived | StockReserved | StockReleased | StockIssued


class StockRow(msgspec.Struct, frozen=True):
    """Pieces. `available` = `on_hand` - `reserved`, and 0 <= `reserved` <= `on_hand` (docs/decisions/0032).

    Of what nothing ever came in there is no row.
    """

    sku: str
    on_hand: int = 0
    reserved: int = 0
    available: int = 0


def keys(event: Changed, about: About) -> tuple[str]:
    return (event.sku,)


def evolve(row: StockRow | None, event: Changed, about: About) -> StockRow | None:
    on_hand, reserved = (row.on_hand, row.reserved) if row else (0, 0)
    match event:
        case StockAdjusted():
            on_hand = on_hand_after(on_hand, reserved, event.quantity)
        case StockReceived():
            on_hand += event.quantity
        case StockReserved():
            reserved += event.quantity
        case StockReleased():
            reserved -= event.quantity
        case StockIssued():
            on_hand -= event.quantity
            reserved -= event.quantity
    return StockRow(event.sku, on_hand, reserved, on_hand - reserved) if row or on_hand else None


def own_stream(sku: str) -> tuple[str]:
    """Where all of its events stand: so one word makes this view live."""
    return (f"stock-{sku}",)


STOCK_LEVELS = View[StockRow, Changed](
    name="stock",
    key="sku",
    row=StockRow,
    on=get_args(Changed),
    keys=keys,
    evolve=evolve,
    sync="inline",
    streams=own_stream,
)
