"""What the load consists of: stories of one stream each, in which the order of the commands matters.

Every command is unlike every other, so that one that is lost, doubled or moved shows in the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

READDRESSES_MAX = 12
COUNTRIES = ("United Kingdom", "France", "Eire", "Norway")


class Step(NamedTuple):
    """A command as it is posted."""

    type: str
    stream: str
    data: dict[str, Any]


Story = Iterator[Step]
StoryTeller = Callable[[str, Random], Story]
"""From a name that is in every stream's."""


def order_story(name: str, random: Random) -> Story:
    """Orders one after another: placed, readdressed a few times, returned; among them one repeated and one too late."""
    number = 0
    while True:
        number += 1
        order_id = f"{name}-{number}"
        stream = f"order-{order_id}"
        lines = [
            {"sku": f"sku-{random.randrange(40)}", "description": f"thing {line}", "quantity": line + 1, "unit_price": 125}
            for line in range(random.randint(1, 4))
        ]
        customer = f"customer-{random.randrange(30)}"
        named = {"order_id": order_id}
        placed = {**named, "customer_id": customer, "lines": lines, "shipping_address": _address(order_id, 0, random)}
        placed["fulfilment"] = "none"  # whoever fulfils them would have his own story
        yield Step("PlaceOrder", stream, placed)
        for step in range(1, random.randint(2, READDRESSES_MAX)):
            yield Step("UpdateShippingAddress", stream, {**named, "shipping_address": _address(order_id, step, random)})
        yield Step("PlaceOrder", stream, placed)
        yield Step("ReturnOrder", stream, {**named, "reason": f"end of {order_id}"})
        yield Step("UpdateShippingAddress", stream, {**named, "shipping_address": _address(order_id, 99, random)})


def stock_story(name: str, random: Random) -> Story:
    """One product, adjusted for ever: by 1, 2, 3 and so on, so that the sum tells how far it came."""
    quantity = 0
    while True:
        quantity += 1
        yield Step("AdjustStock", f"stock-{name}", {"sku": name, "quantity": quantity, "reason": f"count {quantity}"})


STORIES: tuple[StoryTeller, ...] = (order_story, stock_story)


def _address(order_id: str, step: int, random: Random) -> dict[str, str]:
    line = f"{order_id}, door {step}"
    return {"name": "Ann", "line1": line, "city": "Hull", "postcode": "HU1", "country": random.choice(COUNTRIES)}
