"""The work: orders made from a prefix and a number, the same for every side, and the HTTP bytes that place them.

Everything here is a pure function of its arguments, so the load generator, the peers and the check afterwards agree on
what was asked without telling each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

LINES_PER_ORDER = 3
SKUS = 500
BULK_ITEMS_MAX = 1_000
"""The contract's limit of one `POST /commands`."""


def order_id(prefix: str, number: int) -> str:
    return f"{prefix}-{number}"


def place_order(prefix: str, number: int) -> dict[str, Any]:
    """The fields of one PlaceOrder: three lines, one of 97 customers, about 600 bytes of JSON."""
    return {
        "order_id": order_id(prefix, number),
        "customer_id": f"customer-{number % 97}",
        "lines": [_line(number, place) for place in range(LINES_PER_ORDER)],
        "shipping_address": address(number),
        "fulfilment": "none",
    }


def update_address(prefix: str, number: int) -> dict[str, Any]:
    """The fields of one UpdateShippingAddress for the same order."""
    return {"order_id": order_id(prefix, number), "shipping_address": address(number + 1)}


def address(number: int) -> dict[str, str]:
    return {
        "name": f"Customer {number % 97}",
        "line1": f"{number % 200 + 1} Long Street",
        "city": "Leicester",
        "postcode": f"LE{number % 9 + 1} 7RH",
        "country": ("United Kingdom", "France", "EIRE", "Germany")[number % 4],
    }


def total_minor(count: int) -> int:
    """What orders 0 to count - 1 of one prefix cost together: what the rows of a view must add up to."""
    return sum(
        _line(number, place)["quantity"] * _line(number, place)["unit_price"]
        for number in range(count)
        for place in range(LINES_PER_ORDER)
    )


def single_posts(prefix: str, start: int, count: int) -> Iterator[bytes]:
    """One `POST /commands/PlaceOrder` each, whole requests ready to be written to a socket."""
    for number in range(start, start + count):
        yield post("/commands/PlaceOrder", msgspec.json.encode(place_order(prefix, number)))


def bulk_posts(prefix: str, count: int, items: int) -> Iterator[bytes]:
    """`POST /commands` with up to `items` PlaceOrders each, whole requests."""
    for start in range(0, count, items):
        batch = [
            {"type": "PlaceOrder", "data": place_order(prefix, number)} for number in range(start, min(start + items, count))
        ]
        yield post("/commands", msgspec.json.encode(batch))


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{lines}\r\n".encode()


def _line(number: int, place: int) -> dict[str, Any]:
    return {
        "sku": f"sku-{(number * 7 + place * 131) % SKUS}",
        "description": f"WHITE HANGING HEART T-LIGHT HOLDER {place}",
        "quantity": (number + place) % 6 + 1,
        "unit_price": (number * 13 + place * 29) % 900 + 45,
    }
