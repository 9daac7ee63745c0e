"""The product: what it is called, and what it costs today. An order's lines have prices of their own."""

from __future__ import annotations

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.values import Id, Text, UnitPrice, Word


class ProductRegistered(Event, frozen=True):
    """`price` in minor units; `category` is empty where there is none."""

    sku: str
    description: str
    price: int
    category: str


class PriceChanged(Event, frozen=True):
    sku: str
    price: int


class RegisterProduct(Command, frozen=True):
    sku: Id
    description: Text
    price: UnitPrice
    category: Word = ""


class ChangePrice(Command, frozen=True):
    sku: Id
    price: UnitPrice


class Product(msgspec.Struct, frozen=True):
    registered: ProductRegistered
    price: int


def decide(product: Product | None, command: RegisterProduct | ChangePrice) -> list[ProductRegistered | PriceChanged]:
    if isinstance(command, RegisterProduct):
        registered = ProductRegistered(command.sku, command.description, command.price, command.category)
        if product is None:
            return [registered]
        if product.registered == registered:
            return []
        raise Rejected("already-registered")
    if product is None:
        raise Rejected("no-such-product")
    return [PriceChanged(command.sku, command.price)] if command.price != product.price else []


def evolve(product: Product | None, event: ProductRegistered | PriceChanged) -> Product | None:
    if isinstance(event, ProductRegistered):
        return Product(event, event.price)
    return msgspec.structs.replace(product, price=event.price) if product else None


PRODUCT = Decider[Product | None, RegisterProduct | ChangePrice, ProductRegistered | PriceChanged](
    name="product",
    key="sku",
    commands=(RegisterProduct, ChangePrice),
    events=(ProductRegistered, PriceChanged),
    initial=None,
    decide=decide,
    evolve=evolve,
)
