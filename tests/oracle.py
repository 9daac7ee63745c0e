"""What every view must hold after a file of invoices was replayed, computed from the CSV alone.

Shares no code with the product and is written the other way round: not a fold of events but sums over the lines of the
file. Rows are dicts as in the JSON of the HTTP API, with the fields that the contract names.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Tables = dict[str, dict[str, Row]]
RECENT_COUNT = 10


class Line:
    """One line of the file; `kind` is what the contract makes of it: sale, credit, adjustment or skipped."""

    def __init__(self, record: Mapping[str, str]) -> None:
        self.invoice = record["InvoiceNo"]
        self.sku = record["StockCode"]
        self.description = record["Description"]
        quantity = int(record["Quantity"])
        self.pieces = abs(quantity)
        self.change = quantity
        self.at = record["InvoiceDate"] + "Z"
        self.customer = record["CustomerID"] or "guest"
        self.country = record["Country"]
        self.price = record["UnitPrice"]
        if quantity == 0 or self.invoice.startswith("A"):
            self.kind = "skipped"
        elif self.invoice.startswith("C"):
            self.kind = "credit"
        else:
            self.kind = "sale" if quantity > 0 else "adjustment"

    @property
    def amount(self) -> int:
        """Pence: a piece's price rounded half up, times the pieces."""
        return self.pieces * int((Decimal(self.price) * 100).to_integral_value(ROUND_HALF_UP))


def lines_of(path: Path) -> list[Line]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        return [Line(record) for record in csv.DictReader(file)]


def expected(path: Path) -> Tables:
    """View name to key to row."""
    lines = lines_of(path)
    head: dict[str, Line] = {}
    for line in lines:
        head.setdefault(line.invoice, line)
    sales = [line for line in lines if line.kind == "sale"]
    credits = [line for line in lines if line.kind == "credit"]
    moved = sales + credits + [line for line in lines if line.kind == "adjustment"]
    orders = _orders(sales, head)
    recent = _recent(orders)
    return {
        "orders": orders,
        "customer_orders": _customers(sales, credits, head, orders, recent),
        "recent_orders": {
            customer: {
                "customer_id": customer,
                "orders": [_only(order, "order_id", "placed_at", "total", "currency", "status") for order in newest],
            }
            for customer, newest in recent.items()
        },
        "product_sales": _products(sales, credits, head),
        "sales_by_day": _sales(sales, credits, "day", lambda line: head[line.invoice].at[:10]),
        "sales_by_hour": _sales(sales, credits, "hour", lambda line: head[line.invoice].at[:13]),
        "sales_by_country": _sales(sales, credits, "country", lambda line: head[line.invoice].country),
        "inventory": _inventory(moved),
    }


def differences(wanted: Tables, actual: Mapping[str, Mapping[str, Row]]) -> list[str]:
    """One line for each view, row or field that is not as wanted; empty when all is. Fields beyond the wanted ones may be."""
    found: list[str] = []
    for view, rows in wanted.items():
        there = actual.get(view, {})
        found += [f"{view}/{key}: missing" for key in rows.keys() - there.keys()]
        found += [f"{view}/{key}: should not be there" for key in there.keys() - rows.keys()]
        for key in rows.keys() & there.keys():
            for field, value in rows[key].items():
                shown = there[key].get(field)
                if shown != value or type(shown) is not type(value):
                    found.append(f"{view}/{key}.{field}: {shown!r}, should be {value!r}")
    return sorted(found)


def _orders(sales: Iterable[Line], head: Mapping[str, Line]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for line in sales:
        first = head[line.invoice]
        row = rows.setdefault(
            line.invoice,
            {
                "order_id": line.invoice,
                "customer_id": first.customer,
                "status": "placed",
                "country": first.country,
                "placed_at": first.at,
                "currency": "GBP",
                "lines": 0,
                "units": 0,
                "total": 0,
                "refunded": 0,
            },
        )
        row["lines"] += 1
        row["units"] += line.pieces
        row["total"] += line.amount
    return rows


def _recent(orders: Mapping[str, Row]) -> dict[str, list[Row]]:
    """Each customer's last orders, newest first; of one moment the larger number first."""
    by_customer: dict[str, list[Row]] = defaultdict(list)
    for order in sorted(orders.values(), key=lambda row: (row["placed_at"], row["order_id"]), reverse=True):
        by_customer[order["customer_id"]].append(order)
    return {customer: newest[:RECENT_COUNT] for customer, newest in by_customer.items()}


def _customers(
    sales: Iterable[Line],
    credits: Iterable[Line],
    head: Mapping[str, Line],
    orders: Mapping[str, Row],
    recent: Mapping[str, list[Row]],
) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for line in (*sales, *credits):
        customer = head[line.invoice].customer
        row = rows.setdefault(customer, {"customer_id": customer, "orders": 0, "units": 0, "spent": 0, "refunded": 0})
        row["units"] += line.pieces if line.kind == "sale" else 0
        row["spent" if line.kind == "sale" else "refunded"] += line.amount
    for customer, row in rows.items():
        times = [order["placed_at"] for order in orders.values() if order["customer_id"] == customer]
        row["orders"] = len(times)
        row["first_order_at"] = min(times, default=None)
        row["last_order_at"] = max(times, default=None)
        row["recent"] = [order["order_id"] for order in recent.get(customer, ())]
    return rows


def _products(sales: Iterable[Line], credits: Iterable[Line], head: Mapping[str, Line]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    invoices: dict[str, set[str]] = defaultdict(set)
    said: dict[str, list[tuple[str, str, int, str]]] = defaultdict(list)
    for number, line in enumerate((*sales, *credits)):
        row = rows.setdefault(line.sku, {"sku": line.sku, "units_sold": 0, "units_returned": 0, "gross": 0, "refunded": 0})
        row["units_sold" if line.kind == "sale" else "units_returned"] += line.pieces
        row["gross" if line.kind == "sale" else "refunded"] += line.amount
        if line.kind == "sale":
            invoices[line.sku].add(line.invoice)
        if line.description:
            said[line.sku].append((head[line.invoice].at, line.invoice, number, line.description))
    for sku, row in rows.items():
        row["orders"] = len(invoices[sku])
        row["description"] = max(said[sku])[3] if said[sku] else ""
    return rows


def _sales(sales: Iterable[Line], credits: Iterable[Line], key_field: str, key_of: Any) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    invoices: dict[str, set[str]] = defaultdict(set)
    for line in (*sales, *credits):
        key = key_of(line)
        row = rows.setdefault(key, {key_field: key, "units": 0, "gross": 0, "refunded": 0})
        if line.kind == "sale":
            invoices[key].add(line.invoice)
            row["units"] += line.pieces
        row["gross" if line.kind == "sale" else "refunded"] += line.amount
    for key, row in rows.items():
        row["orders"] = len(invoices[key])
        row["net"] = row["gross"] - row["refunded"]
    return rows


def _inventory(moved: Iterable[Line]) -> dict[str, Row]:
    """On hand is what the lines left: credits come in, sales go out, adjustments are signed."""
    rows: dict[str, Row] = {}
    for line in moved:
        row = rows.setdefault(line.sku, {"sku": line.sku, "sold": 0, "returned": 0, "adjusted": 0, "on_hand": 0})
        if line.kind == "adjustment":
            row["adjusted"] += line.change
            row["on_hand"] += line.change
        elif line.kind == "sale":
            row["sold"] += line.pieces
            row["on_hand"] -= line.pieces
        else:
            row["returned"] += line.pieces
            row["on_hand"] += line.pieces
    return rows


def _only(row: Row, *fields: str) -> Row:
    return {field: row[field] for field in fields}
