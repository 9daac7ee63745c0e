"""`order_search`: what one finds an order by."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned, ShippingAddressUpdated
from twofold.shop.pieces import ReturnedLine
from twofold.shop.values import Address, Line
from twofold.shop.views.search import BOUGHT_CHARS_MAX, ORDER_SEARCH, FoundOrder
from twofold.testing import rows

AT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
HOME = Address("Ann\nSmith", "1 High Street", "York", "YO1", "United Kingdom")
LINES = (Line("85123A", "WHITE HEART", 6, 255), Line("71053", "WHITE LANTERN", 1, 339), Line("85123B", "WHITE HEART", 1, 255))
PLACED = OrderPlaced("536365", "17850", LINES, HOME, "GBP", AT, "none", 8, 2_124)


def text(status: str = "placed", to: str = "Ann Smith, 1 High Street, York, YO1, United Kingdom") -> str:
    return f"536365\n17850\n{status}\n{to}\nWHITE HEART; WHITE LANTERN"


def test_an_order_is_found_by_who_where_and_what() -> None:
    """What is said in several lines is searched as one, and each description once."""
    found = FoundOrder("536365", "17850", text(), "placed", "United Kingdom", AT, 2_124)
    assert rows(ORDER_SEARCH, PLACED) == {"536365": found}


def test_it_is_found_by_what_it_is_now() -> None:
    moved = ShippingAddressUpdated("536365", Address("Bob", "2 Rue\nHaute", "Paris", "75001", "France"))
    cancelled = OrderCancelled("536365", "17850", "France", LINES, 8, 2_124, "lost")
    [row] = rows(ORDER_SEARCH, PLACED, moved, cancelled).values()
    assert row.text == text("cancelled", "Bob, 2 Rue Haute, Paris, 75001, France")
    assert (row.status, row.country, row.total) == ("cancelled", "France", 2_124)
    back = OrderReturned("536365", "17850", "France", (ReturnedLine(1, "85123A", 1, 255),), 1, 255, "broken", False)
    [row] = rows(ORDER_SEARCH, PLACED, back).values()
    assert row.text == text("partly-returned") and row.status == "partly-returned"


def test_a_large_order_is_cut_and_one_that_is_not_known_has_no_row() -> None:
    lines = tuple(Line(str(number), f"{number:05}" + "x" * 995, 1, 1) for number in range(2_000))
    [row] = rows(ORDER_SEARCH, OrderPlaced("1", "c", lines, HOME, "GBP", AT, "none", 2_000, 2_000)).values()
    assert BOUGHT_CHARS_MAX <= len(row.text) < BOUGHT_CHARS_MAX + 500
    assert rows(ORDER_SEARCH, OrderCancelled("2", "c", "France", LINES, 8, 2_124, "lost")) == {}
