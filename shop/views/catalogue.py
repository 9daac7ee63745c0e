"""`products`: what is offered, and at what price today."""

from __future__ import annotations

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.product import PriceChanged, ProductRegistered


class OfferRow(msgspec.Struct, frozen=True):
    """`price` in minor units; `category` is empty where there is none."""

    sku: str
    description: str
    price: int
    category: str


def keys(event: ProductRegistered | PriceChanged, about: About) -> tuple[str]:
    return (event.sku,)


def evolve(row: OfferRow | None, event: ProductRegistered | PriceChanged, about: About) -> OfferRow | None:
    if isinstance(event, ProductRegistered):
        return OfferRow(event.sku, event.description, event.price, event.category)
    return msgspec.structs.replace(row, price=event.price) if row else None


PRODUCTS = View[OfferRow, ProductRegistered | PriceChanged](
    name="products",
    key="sku",
    row=OfferRow,
    on=(ProductRegistered, PriceChanged),
    keys=keys,
    evolve=evolve,
    indexes=("category",),
    orders=("price",),
)
