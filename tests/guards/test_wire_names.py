"""Names that reach disk or wire are stable: the shop's are compared with a committed list."""

from __future__ import annotations

from pathlib import Path

from tests.guards.wire_names import lines
from twofold.kernel.domain import load_domain

SNAPSHOT = Path(__file__).with_name("wire_names.txt")


def test_the_shops_wire_names_are_the_committed_ones() -> None:
    """On purpose? `python -m tests.guards.wire_names > tests/guards/wire_names.txt`, and say so in the changelog."""
    assert lines(load_domain("twofold.shop")) == SNAPSHOT.read_text().splitlines()


def test_the_list_names_what_the_contract_names() -> None:
    text = SNAPSHOT.read_text()
    for name in ("PlaceOrder", "CancelOrder", "UpdateShippingAddress", "ReturnOrder", "RecordReturn", "AdjustStock"):
        assert f"command {name} " in text
    for view in ("orders", "customer_orders", "product_sales", "sales_by_day", "sales_by_country", "inventory", "recent_orders"):
        assert f"view {view}[" in text
