"""`product_sales`: what each product sold and got back; `inventory`: what that leaves of it in the house.

An event is walked once: `keys` sums its lines by product, and each row is given the sum that concerns it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned
from twofold.shop.pieces import ReturnedLine
from twofold.shop.returns import ReturnRecorded
from twofold.shop.stock import StockAdjusted
from twofold.shop.views.moments import Refund, Sale, happened_at


class Part(msgspec.Struct, gc=False):
    """What the lines of one event say about one product; `amount` in minor units, `description` the last non-empty one."""

    units: int = 0
    amount: int = 0
    description: str = ""


class ProductRow(msgspec.Struct, frozen=True):
    """`orders` counts orders with this product; `gross` is before `refunded`, both in minor units.

    `description` is the latest non-empty one by business time; `described_at` and `described_by` say when and by which
    order or return.
    """

    sku: str
    description: str = ""
    orders: int = 0
    units_sold: int = 0
    units_returned: int = 0
    gross: int = 0
    refunded: int = 0
    described_at: datetime | None = None
    described_by: str = ""


class InventoryRow(msgspec.Struct, frozen=True):
    """Pieces. `on_hand` = returned + adjusted - sold; negative when more was sold than is known to have come in."""

    sku: str
    sold: int = 0
    returned: int = 0
    adjusted: int = 0
    on_hand: int = 0


def by_product(event: Sale | Refund, about: About) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for line in event.lines:
        part = parts.get(line.sku)
        if part is None:
            part = parts[line.sku] = Part()
        part.units += line.quantity
        part.amount += line.quantity * line.unit_price
        if not isinstance(line, ReturnedLine) and line.description:
            part.description = line.description
    return parts


def evolve_sales(row: ProductRow | None, event: Sale | Refund, about: About) -> ProductRow:
    row = row or ProductRow(about.key)
    part: Part = about.part
    if isinstance(event, OrderPlaced):
        row = _described(row, part, happened_at(event, about), event.order_id)
        return msgspec.structs.replace(
            row, orders=row.orders + 1, units_sold=row.units_sold + part.units, gross=row.gross + part.amount
        )
    if isinstance(event, ReturnRecorded):
        row = _described(row, part, happened_at(event, about), event.return_id)
    return msgspec.structs.replace(row, units_returned=row.units_returned + part.units, refunded=row.refunded + part.amount)


def _described(row: ProductRow, part: Part, at: datetime, by: str) -> ProductRow:
    is_older = row.described_at is not None and (at, by) < (row.described_at, row.described_by)
    if is_older or not part.description:
        return row
    return msgspec.structs.replace(row, description=part.description, described_at=at, described_by=by)


def pieces(event: Sale | Refund | StockAdjusted, about: About) -> dict[str, int]:
    if isinstance(event, StockAdjusted):
        return {event.sku: event.quantity}
    return {sku: part.units for sku, part in by_product(event, about).items()}


def evolve_inventory(row: InventoryRow | None, event: Sale | Refund | StockAdjusted, about: About) -> InventoryRow:
    row = row or InventoryRow(about.key)
    sold, returned, adjusted = row.sold, row.returned, row.adjusted
    if isinstance(event, OrderPlaced):
        sold += about.part
    elif isinstance(event, StockAdjusted):
        adjusted += about.part
    else:
        returned += about.part
    return InventoryRow(row.sku, sold, returned, adjusted, on_hand=returned + adjusted - sold)


PRODUCT_SALES = View[ProductRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded](
    name="product_sales",
    key="sku",
    row=ProductRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded),
    keys=by_product,
    evolve=evolve_sales,
    orders=("gross", "units_sold"),
)

INVENTORY = View[InventoryRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded | StockAdjusted](
    name="inventory",
    key="sku",
    row=InventoryRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded, StockAdjusted),
    keys=pieces,
    evolve=evolve_inventory,
)
