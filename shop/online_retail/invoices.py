"""From the lines of a CSV file to commands.

| Invoice | Becomes |
|---|---|
| digits: its lines with quantity > 0 | one PlaceOrder, at the time of the invoice's first line |
| digits: each line with quantity < 0 | one AdjustStock, at the time of that line |
| C… (credit note) | one RecordReturn, quantities made positive |
| A… (bad debt), and lines with quantity 0 | nothing; counted as skipped |
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from twofold.kernel.errors import Malformed
from twofold.kernel.messages import Command
from twofold.shop.order import PlaceOrder
from twofold.shop.returns import RecordReturn
from twofold.shop.stock import AdjustStock
from twofold.shop.values import YEAR_MAX, YEAR_MIN, OrderLine, ShippingAddress

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
GUEST = "guest"


class InvoiceLine(NamedTuple):
    """One line of the file, as it stands there but for the quantity; `line` is its number, the header being 1."""

    line: int
    invoice: str
    sku: str
    description: str
    quantity: int
    date: str
    price: str
    customer: str
    country: str


class KeyedCommand(NamedTuple):
    """One command that an invoice becomes, and the key that it is always sent under."""

    invoice: str
    key: str
    command: Command


class Parsed(NamedTuple):
    """What a file becomes, in its order, and how many of its lines become nothing."""

    commands: list[KeyedCommand]
    skipped: int


def read(path: Path, limit: int | None = None) -> Parsed:
    """The file's first `limit` invoices as commands; plain or gzip. Raises Malformed, which names the line."""
    invoices: dict[str, list[InvoiceLine]] = {}
    try:
        for row in _rows(path):
            invoices.setdefault(row.invoice, []).append(row)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise Malformed(f"cannot be read: {error}") from error
    commands: list[KeyedCommand] = []
    skipped = 0
    for rows in islice(invoices.values(), limit):
        parsed = commands_of(rows)
        commands += parsed.commands
        skipped += parsed.skipped
    return Parsed(commands, skipped)


def commands_of(rows: Sequence[InvoiceLine]) -> Parsed:
    """One invoice's lines, in the order of the file, as commands."""
    first = rows[0]
    invoice = first.invoice
    if invoice.startswith("A"):
        return Parsed([], len(rows))
    if not invoice[:1].isdigit() and not invoice.startswith("C"):
        raise Malformed(f"line {first.line}: invoice {invoice!r} begins neither with a digit nor with A or C")
    moving = [row for row in rows if row.quantity]
    skipped = len(rows) - len(moving)
    if invoice.startswith("C"):
        return Parsed([_return_of(first, moving)] if moving else [], skipped)
    sold = [row for row in moving if row.quantity > 0]
    adjusted = [(number, row) for number, row in enumerate(rows, start=1) if row.quantity < 0]
    orders = [_order_of(first, sold)] if sold else []
    return Parsed(orders + [_adjustment_of(number, row) for number, row in adjusted], skipped)


def _order_of(first: InvoiceLine, sold: Iterable[InvoiceLine]) -> KeyedCommand:
    order = PlaceOrder(
        order_id=first.invoice,
        customer_id=first.customer or GUEST,
        lines=tuple(_line_of(row) for row in sold),
        shipping_address=ShippingAddress(name=first.customer or GUEST, line1="", city="", postcode="", country=first.country),
        placed_at=_time_of(first),
        fulfilment="none",
    )
    return KeyedCommand(first.invoice, f"online-retail:{first.invoice}:order", order)


def _return_of(first: InvoiceLine, moving: Iterable[InvoiceLine]) -> KeyedCommand:
    recorded = RecordReturn(
        return_id=first.invoice,
        customer_id=first.customer or GUEST,
        lines=tuple(_line_of(row) for row in moving),
        country=first.country,
        returned_at=_time_of(first),
        reason="credit note",
    )
    return KeyedCommand(first.invoice, f"online-retail:{first.invoice}:return", recorded)


def _adjustment_of(number: int, row: InvoiceLine) -> KeyedCommand:
    adjustment = AdjustStock(
        sku=row.sku, quantity=row.quantity, reason=row.description or "unexplained", adjusted_at=_time_of(row)
    )
    return KeyedCommand(row.invoice, f"online-retail:{row.invoice}:adjust:{number}", adjustment)


def _line_of(row: InvoiceLine) -> OrderLine:
    return OrderLine(row.sku, row.description, abs(row.quantity), minor_units(row))


def minor_units(row: InvoiceLine) -> int:
    """The price of one piece in pence, half a penny rounded up. Raises Malformed."""
    try:
        pence = int((Decimal(row.price) * 100).quantize(Decimal(1), ROUND_HALF_UP))
    except (ArithmeticError, ValueError) as error:
        raise Malformed(f"line {row.line}: UnitPrice {row.price!r} is not a price") from error
    if pence < 0:
        raise Malformed(f"line {row.line}: UnitPrice {row.price!r} is negative")
    return pence


def _time_of(row: InvoiceLine) -> datetime:
    """A time without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(row.date)
    except ValueError as error:
        raise Malformed(f"line {row.line}: InvoiceDate {row.date!r} is not an ISO 8601 time") from error
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise Malformed(f"line {row.line}: InvoiceDate {row.date!r} is not in the years {YEAR_MIN} to {YEAR_MAX}")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _rows(path: Path) -> Iterator[InvoiceLine]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise Malformed(f"line 1: no column {', '.join(missing)}")
        indexes = [header.index(column) for column in COLUMNS]
        for fields in filter(None, reader):
            if len(fields) != len(header):
                raise Malformed(f"line {reader.line_num}: {len(fields)} fields instead of {len(header)}")
            invoice, sku, description, quantity, date, price, customer, country = [fields[index] for index in indexes]
            try:
                pieces = int(quantity)
            except ValueError as error:
                raise Malformed(f"line {reader.line_num}: Quantity {quantity!r} is not a whole number") from error
            yield InvoiceLine(reader.line_num, invoice, sku, description, pieces, date, price, customer, country)
