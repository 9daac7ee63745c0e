"""What the shop's messages are made of: bounded at the door (commands), plain on disk (events).

The classes that commands hold refuse unknown fields and values out of bounds; those that events hold are tolerant and
unbounded, so that a bound tightened tomorrow never makes yesterday's fact unreadable. The bounds keep every sum a view
makes far inside 64 bits: it takes nine million orders of the largest total to leave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from twofold.kernel.errors import Rejected

LINES_MAX = 2_000
QUANTITY_MAX = 10_000_000
UNIT_PRICE_MAX = 100_000_000
TOTAL_MAX = 1_000_000_000_000
"""Minor units of one order or one return."""

PAYMENT_TOKEN = "tok_ok"
"""What an order is paid with unless it says otherwise. For ever: events that hold no other were written without it."""

YEAR_MIN, YEAR_MAX = 1900, 2999
"""Inside these, no conversion between time zones and no store's calendar can overflow."""

_NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)"
"""`$` alone would let one trailing newline pass in Python; other dialects of JSON Schema read this the same way."""

Id = Annotated[str, Meta(min_length=1, max_length=200, pattern=_NO_CONTROL)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code")]
Text = Annotated[str, Meta(max_length=1_000)]
Word = Annotated[str, Meta(max_length=200)]
AddressPart = Annotated[str, Meta(max_length=200)]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
Pieces = Annotated[int, Meta(ge=1, le=LINES_MAX * QUANTITY_MAX, description="of one product, as many as an order can hold")]
UnitPrice = Annotated[int, Meta(ge=0, le=UNIT_PRICE_MAX, description="minor units")]
Moment = Annotated[datetime, Meta(tz=True, description=f"with a time zone, in the years {YEAR_MIN} to {YEAR_MAX}")]


class OrderLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One line of a command: so many pieces of a product at a price each."""

    sku: Id
    description: Text
    quantity: Quantity
    unit_price: UnitPrice


OrderLines = Annotated[tuple[OrderLine, ...], Meta(min_length=1, max_length=LINES_MAX)]


class ShippingAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where a command wants an order to go. Parts that are not known are empty; the country is known."""

    name: AddressPart
    line1: AddressPart
    city: AddressPart
    postcode: AddressPart
    country: Id


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a fact."""

    sku: str
    description: str
    quantity: int
    unit_price: int


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where a fact says an order goes."""

    name: str
    line1: str
    city: str
    postcode: str
    country: str


def lines_of(lines: Sequence[OrderLine]) -> tuple[Line, ...]:
    return tuple([Line(line.sku, line.description, line.quantity, line.unit_price) for line in lines])


def address_of(command: ShippingAddress) -> Address:
    return Address(command.name, command.line1, command.city, command.postcode, command.country)


class Priced(Protocol):
    """Anything that counts pieces at a price."""

    @property
    def quantity(self) -> int: ...

    @property
    def unit_price(self) -> int: ...


def units_of(lines: Sequence[Priced]) -> int:
    return sum([line.quantity for line in lines])


def total_of(lines: Sequence[Priced]) -> int:
    """Minor units. Raises Rejected (`total-too-large`)."""
    total = sum([line.quantity * line.unit_price for line in lines])
    if total > TOTAL_MAX:
        raise Rejected("total-too-large", total=total, maximum=TOTAL_MAX)
    return total


def keep_in_utc(command: msgspec.Struct, field: str) -> None:
    """Turn a command's optional time into UTC where it stands, so that equal moments make equal commands.

    Called by `__post_init__`, so a ValueError here reaches the client as a malformed command.
    """
    moment: datetime | None = getattr(command, field)
    if moment is None:
        return
    if moment.tzinfo is None or not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise ValueError(f"{field} must have a time zone and lie in the years {YEAR_MIN} to {YEAR_MAX}")
    msgspec.structs.force_setattr(command, field, moment.astimezone(UTC))
