"""What an order, a recorded return and a stock adjustment make of each command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Malformed
from twofold.shop.order import (
    ORDER,
    CancelOrder,
    OrderCancelled,
    OrderPlaced,
    OrderReturned,
    PlaceOrder,
    ReturnOrder,
    ShippingAddressUpdated,
    UpdateShippingAddress,
)
from twofold.shop.pieces import ReturnedLine, ReturnLine
from twofold.shop.returns import RETURN, RecordReturn, ReturnRecorded
from twofold.shop.stock import STOCK, AdjustStock, StockAdjusted
from twofold.shop.values import Address, Line, OrderLine, ShippingAddress
from twofold.testing import given

NINE = datetime(2010, 12, 1, 9, tzinfo=UTC)
HOME = ShippingAddress("Ada", "1 Mill Lane", "Leeds", "LS1", "United Kingdom")
AWAY = ShippingAddress("Ada", "2 Rue Haute", "Lille", "59000", "France")
HOME_FACT = Address("Ada", "1 Mill Lane", "Leeds", "LS1", "United Kingdom")
AWAY_FACT = Address("Ada", "2 Rue Haute", "Lille", "59000", "France")
PLACE = PlaceOrder(
    order_id="7",
    customer_id="ada",
    lines=(OrderLine("mug", "MUG", 3, 250), OrderLine("tea", "TEA", 1, 400), OrderLine("mug", "MUG, OFFER", 2, 200)),
    shipping_address=HOME,
    placed_at=NINE,
    fulfilment="none",
)
PLACED = OrderPlaced(
    order_id="7",
    customer_id="ada",
    lines=(Line("mug", "MUG", 3, 250), Line("tea", "TEA", 1, 400), Line("mug", "MUG, OFFER", 2, 200)),
    shipping_address=HOME_FACT,
    currency="GBP",
    placed_at=NINE,
    fulfilment="none",
    units=6,
    total=1_550,
)
CANCELLED = OrderCancelled("7", "ada", "United Kingdom", PLACED.lines, 6, 1_550, "late")
ALL_BACK = OrderReturned(
    order_id="7",
    customer_id="ada",
    country="United Kingdom",
    lines=(ReturnedLine(1, "mug", 3, 250), ReturnedLine(2, "tea", 1, 400), ReturnedLine(3, "mug", 2, 200)),
    units=6,
    total=1_550,
    reason="broken",
    is_complete=True,
)
FOUR_MUGS_BACK = OrderReturned(
    order_id="7",
    customer_id="ada",
    country="United Kingdom",
    lines=(ReturnedLine(1, "mug", 3, 250), ReturnedLine(3, "mug", 1, 200)),
    units=4,
    total=950,
    reason="broken",
    is_complete=False,
)


def returning(*lines: tuple[str, int]) -> ReturnOrder:
    return ReturnOrder("7", "broken", tuple(ReturnLine(sku, quantity) for sku, quantity in lines))


def test_an_order_is_placed_once() -> None:
    """The fact says all that views need: units and total too."""
    given(ORDER).when(PLACE).then(PLACED)
    given(ORDER, PLACED).when(PLACE).nothing_happened()
    given(ORDER, PLACED, CANCELLED).when(PLACE).nothing_happened()


@pytest.mark.parametrize(
    "change",
    [{"customer_id": "bob"}, {"currency": "EUR"}, {"placed_at": None}, {"fulfilment": "automatic"}, {"lines": PLACE.lines[:1]}],
    ids=str,
)
def test_an_order_id_never_stands_for_two_orders(change: dict[str, object]) -> None:
    """Ignoring the second command would lose it in silence."""
    given(ORDER, PLACED).when(msgspec.structs.replace(PLACE, **change)).rejected("already-placed")


def test_an_order_larger_than_sums_can_bear_is_rejected() -> None:
    """Some millions of orders of the largest total still fit in 64 bits."""
    huge = msgspec.structs.replace(PLACE, lines=(OrderLine("gold", "", 10_000_000, 100_001),))
    given(ORDER).when(huge).rejected("total-too-large", maximum=1_000_000_000_000)


@pytest.mark.parametrize(
    "command",
    [CancelOrder("7", ""), UpdateShippingAddress("7", AWAY), ReturnOrder("7", "")],
    ids=lambda command: type(command).__name__,
)
def test_an_order_that_was_never_placed_can_only_be_placed(command: CancelOrder) -> None:
    given(ORDER).when(command).rejected("no-such-order")


def test_a_cancellation_voids_the_whole_order_once() -> None:
    """Its fact carries the lines, for the stock, and the country the order was placed for, for the sums."""
    given(ORDER, PLACED).when(CancelOrder("7", "late")).then(CANCELLED)
    given(ORDER, PLACED, CANCELLED).when(CancelOrder("7", "other")).nothing_happened()
    moved = ShippingAddressUpdated("7", AWAY_FACT)
    given(ORDER, PLACED, moved).when(CancelOrder("7", "late")).then(CANCELLED)


@pytest.mark.parametrize("back", [FOUR_MUGS_BACK, ALL_BACK], ids=["some", "all"])
def test_an_order_of_which_pieces_came_back_cannot_be_cancelled(back: OrderReturned) -> None:
    """What came back was refunded already."""
    given(ORDER, PLACED, back).when(CancelOrder("7", "late")).rejected("order-closed")


def test_the_address_can_change_while_the_order_is_open() -> None:
    given(ORDER, PLACED).when(UpdateShippingAddress("7", AWAY)).then(ShippingAddressUpdated("7", AWAY_FACT))
    given(ORDER, PLACED).when(UpdateShippingAddress("7", HOME)).nothing_happened()
    moved = ShippingAddressUpdated("7", AWAY_FACT)
    given(ORDER, PLACED, moved).when(UpdateShippingAddress("7", AWAY)).nothing_happened()
    given(ORDER, PLACED, CANCELLED).when(UpdateShippingAddress("7", AWAY)).rejected("order-closed", status="cancelled")


def test_a_return_without_lines_takes_all_that_is_left() -> None:
    given(ORDER, PLACED).when(ReturnOrder("7", "broken")).then(ALL_BACK)
    rest = OrderReturned(
        order_id="7",
        customer_id="ada",
        country="United Kingdom",
        lines=(ReturnedLine(2, "tea", 1, 400), ReturnedLine(3, "mug", 1, 200)),
        units=2,
        total=600,
        reason="broken",
        is_complete=True,
    )
    given(ORDER, PLACED, FOUR_MUGS_BACK).when(ReturnOrder("7", "broken")).then(rest)


def test_a_return_takes_the_first_line_of_a_product_first() -> None:
    """Two lines of one product have two prices; the refund is that of the lines taken."""
    given(ORDER, PLACED).when(returning(("mug", 4))).then(FOUR_MUGS_BACK)
    given(ORDER, PLACED).when(returning(("mug", 1), ("mug", 3))).then(FOUR_MUGS_BACK)


def test_no_more_comes_back_than_went_out() -> None:
    given(ORDER, PLACED).when(returning(("mug", 6))).rejected("more-than-ordered", sku="mug", left=5)
    given(ORDER, PLACED).when(returning(("mug", 3), ("mug", 3))).rejected("more-than-ordered")
    given(ORDER, PLACED).when(returning(("cup", 1))).rejected("more-than-ordered", left=0)
    given(ORDER, PLACED, FOUR_MUGS_BACK).when(returning(("mug", 2))).rejected("more-than-ordered", left=1)
    given(ORDER, PLACED, CANCELLED).when(ReturnOrder("7", "")).rejected("order-closed")


def test_when_everything_is_back_the_same_return_again_is_ignored() -> None:
    """In full or line by line; a different one is not."""
    given(ORDER, PLACED, ALL_BACK).when(ReturnOrder("7", "broken")).nothing_happened()
    given(ORDER, PLACED, ALL_BACK).when(returning(("mug", 5), ("tea", 1))).nothing_happened()
    given(ORDER, PLACED, ALL_BACK).when(returning(("mug", 1))).rejected("more-than-ordered")


def test_a_return_without_an_order_is_recorded_once() -> None:
    lines = (OrderLine("mug", "MUG", 2, 250),)
    command = RecordReturn("C7", "guest", lines, "Norway", "broken", returned_at=NINE)
    fact = ReturnRecorded("C7", "guest", (Line("mug", "MUG", 2, 250),), "Norway", NINE, "broken", 2, 500)
    given(RETURN).when(command).then(fact)
    given(RETURN, fact).when(command).nothing_happened()
    given(RETURN, fact).when(msgspec.structs.replace(command, country="Sweden")).rejected("already-recorded")


def test_every_adjustment_of_the_stock_counts() -> None:
    """Two commands of the same quantity are two commands: only the inbox knows a repeated one."""
    fact = StockAdjusted("mug", -2, "damages", None)
    given(STOCK, fact).when(AdjustStock("mug", -2, "damages")).then(fact)
    given(STOCK).when(AdjustStock("mug", 0, "counted")).nothing_happened()
    found = StockAdjusted("mug", 9, "found", None)
    assert STOCK.fold([found, fact, fact]).on_hand == 5


def test_one_moment_in_two_time_zones_is_one_wish() -> None:
    """Times are turned into UTC at the door."""
    ten_in_paris = NINE.astimezone(timezone(timedelta(hours=1)))
    command = msgspec.structs.replace(PLACE, placed_at=ten_in_paris)
    assert encode(command) == encode(PLACE)
    given(ORDER, PLACED).when(command).nothing_happened()


GOOD = encode(PLACE)


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        (b'"quantity":1', b'"quantity":0', "/lines/1/quantity"),
        (b'"quantity":1', b'"quantity":10000001', "/lines/1/quantity"),
        (b'"unit_price":400', b'"unit_price":-1', "/lines/1/unit_price"),
        (b'"unit_price":400', b'"unit_price":100000001', "/lines/1/unit_price"),
        (b'"unit_price":400', b'"unit_price":4.5', "/lines/1/unit_price"),
        (b'"unit_price":400', b'"unit_price":400,"vat":1', "/lines/1/vat"),
        (b'"order_id":"7"', b'"order_id":""', "/order_id"),
        (b'"order_id":"7"', b'"order_id":"7\\n"', "/order_id"),
        (b'"order_id":"7"', b'"order_id":"7\\u0007"', "/order_id"),
        (b'"order_id":"7"', b'"order_id":"' + b"7" * 201 + b'"', "/order_id"),
        (b'"GBP"', b'"gbp"', "/currency"),
        (b'"GBP"', b'"GBP\\n"', "/currency"),
        (b"2010-12-01T09:00:00Z", b"2010-12-01T09:00:00", "/placed_at"),
        (b"2010-12-01T09:00:00Z", b"0001-01-01T00:00:00+14:00", ""),
        (b"2010-12-01T09:00:00Z", b"9999-12-31T23:59:59-12:00", ""),
        (b'"none"', b'"by hand"', "/fulfilment"),
        (b'"city":"Leeds",', b"", "/shipping_address/city"),
        (GOOD, GOOD[: GOOD.index(b'"lines":')] + b'"lines":[]}', "/lines"),
    ],
)
def test_what_is_out_of_bounds_is_refused_at_the_door(old: bytes, new: bytes, pointer: str) -> None:
    """So that no decision and no view has to think of it; and the refusal says where."""
    assert old in GOOD
    with pytest.raises(Malformed) as refused:
        Codec(load_domain("twofold.shop")).command("PlaceOrder", GOOD.replace(old, new, 1))
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("sku", ["BANK CHARGES", "gift_0001_20", "m", "85123A", "22°C", "x" * 200])
def test_real_product_codes_pass_the_door(sku: str) -> None:
    """They are kept exactly as they are, as are prices and quantities of the largest real orders."""
    lines = (OrderLine(sku, "", 80_995, 3_897_000),)
    command = msgspec.structs.replace(PLACE, lines=lines)
    assert Codec(load_domain("twofold.shop")).command("PlaceOrder", encode(command)) == command
