"""`order_search`: orders as one looks for them, by whatever one remembers: a name, a street, what was bought."""

from __future__ import annotations

from datetime import datetime
from typing import cast, get_args

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderPlaced, ShippingAddressUpdated, Status
from twofold.shop.values import Address
from twofold.shop.views.moments import happened_at
from twofold.shop.views.orders import Moved, keys, status_after

BOUGHT_CHARS_MAX = 20_000
"""Of the descriptions of an order of 2,000 lines, so much is kept to be searched."""


class FoundOrder(msgspec.Struct, frozen=True):
    """`text` is what is searched, a line each: order, customer, status, where it goes, what was bought; `total` is in minor units
    of the order's currency."""

    order_id: str
    customer_id: str
    text: str
    status: Status
    country: str
    placed_at: datetime
    total: int


def evolve(row: FoundOrder | None, event: OrderPlaced | Moved | ShippingAddressUpdated, about: About) -> FoundOrder | None:
    if isinstance(event, OrderPlaced):
        bought = "; ".join(dict.fromkeys([line.description for line in event.lines]))[:BOUGHT_CHARS_MAX]
        parts = (event.order_id, event.customer_id, "placed", _written(event.shipping_address), bought)
        return FoundOrder(
            order_id=event.order_id,
            customer_id=event.customer_id,
            text="\n".join([_on_one_line(part) for part in parts]),
            status="placed",
            country=event.shipping_address.country,
            placed_at=happened_at(event, about),
            total=event.total,
        )
    if row is None:
        return None
    order, customer, status, address, bought = row.text.split("\n")
    country = row.country
    if isinstance(event, ShippingAddressUpdated):
        address, country = _on_one_line(_written(event.shipping_address)), event.shipping_address.country
    else:
        status = status_after(event)
    text = "\n".join((order, customer, status, address, bought))
    return FoundOrder(row.order_id, row.customer_id, text, cast(Status, status), country, row.placed_at, row.total)


def _written(address: Address) -> str:
    return ", ".join((address.name, address.line1, address.city, address.postcode, address.country))


def _on_one_line(text: str) -> str:
    return text.replace("\n", " ")


ORDER_SEARCH = View[FoundOrder, OrderPlaced | Moved | ShippingAddressUpdated](
    name="order_search",
    key="order_id",
    row=FoundOrder,
    on=(OrderPlaced, *get_args(Moved), ShippingAddressUpdated),
    keys=keys,
    evolve=evolve,
    indexes=("status", "country"),
    orders=("placed_at", "total"),
    store="search",
    text=("text",),
)
