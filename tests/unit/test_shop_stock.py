"""What is promised of a product's pieces, and to whom."""

from __future__ import annotations

import pytest

from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import load_domain
from twofold.shop.stock import (
    SETTLED_MAX,
    STOCK,
    AdjustStock,
    IssueStock,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    StockAdjusted,
    StockIssued,
    StockReceived,
    StockReleased,
    StockReserved,
)
from twofold.shop.values import LINES_MAX, QUANTITY_MAX
from twofold.shop.views.stock import STOCK_LEVELS, StockRow
from twofold.testing import given, rows

FIVE = StockReceived("mug", 5, "note 1")
FOUR_FOR_A = StockReserved("mug", "a", 4)
RELEASED = StockReleased("mug", "a", 4, "cancelled")
ISSUED = StockIssued("mug", "a", 4)


def lost(quantity: int) -> StockAdjusted:
    return StockAdjusted("mug", -quantity, "lost", None)


def test_what_is_received_can_be_promised_and_every_delivery_counts() -> None:
    given(STOCK, FIVE).when(ReceiveStock("mug", 5, "note 1")).then(FIVE)
    given(STOCK, FIVE).when(ReserveStock("mug", "a", 4)).then(FOUR_FOR_A)
    given(STOCK, StockAdjusted("mug", 4, "found", None)).when(ReserveStock("mug", "a", 4)).then(FOUR_FOR_A)


def test_two_orders_never_get_the_same_last_piece() -> None:
    given(STOCK).when(ReserveStock("mug", "a", 1)).rejected("out-of-stock", available=0)
    given(STOCK, FIVE, FOUR_FOR_A).when(ReserveStock("mug", "b", 2)).rejected("out-of-stock", available=1)
    given(STOCK, FIVE, FOUR_FOR_A).when(ReserveStock("mug", "b", 1)).then(StockReserved("mug", "b", 1))
    given(STOCK, FIVE, FOUR_FOR_A, ISSUED).when(ReserveStock("mug", "b", 2)).rejected("out-of-stock", available=1)
    given(STOCK, FIVE, FOUR_FOR_A, RELEASED).when(ReserveStock("mug", "b", 5)).then(StockReserved("mug", "b", 5))


@pytest.mark.parametrize("since", [(), (RELEASED,), (ISSUED,)], ids=["open", "released", "issued"])
def test_an_order_reserves_a_product_once(since: tuple[StockReleased | StockIssued, ...]) -> None:
    """Asked again, also late, it takes no second piece."""
    given(STOCK, FIVE, FOUR_FOR_A, *since).when(ReserveStock("mug", "a", 4)).nothing_happened()


def test_an_order_cannot_reserve_another_quantity() -> None:
    given(STOCK, FIVE, FOUR_FOR_A).when(ReserveStock("mug", "a", 1)).rejected("already-reserved", quantity=4)


def test_a_reservation_ends_once_released_or_issued() -> None:
    given(STOCK, FIVE, FOUR_FOR_A).when(ReleaseStock("mug", "a", "cancelled")).then(RELEASED)
    given(STOCK, FIVE, FOUR_FOR_A).when(IssueStock("mug", "a")).then(ISSUED)
    for command in (ReleaseStock("mug", "a", "again"), ReleaseStock("mug", "b", "never reserved")):
        given(STOCK, FIVE, FOUR_FOR_A, RELEASED).when(command).nothing_happened()
    given(STOCK, FIVE, FOUR_FOR_A, ISSUED).when(ReleaseStock("mug", "a", "late")).nothing_happened()
    given(STOCK, FIVE, FOUR_FOR_A, ISSUED).when(IssueStock("mug", "a")).nothing_happened()
    given(STOCK, FIVE, FOUR_FOR_A, RELEASED).when(IssueStock("mug", "a")).rejected("not-reserved")
    given(STOCK, FIVE).when(IssueStock("mug", "b")).rejected("not-reserved")


@pytest.mark.parametrize(
    ("events", "row"),
    [
        ((lost(20), FIVE), StockRow("mug", 5, 0, 5)),
        ((FIVE, lost(2)), StockRow("mug", 3, 0, 3)),
        ((FIVE, lost(20)), StockRow("mug", 0, 0, 0)),
        ((FIVE, FOUR_FOR_A, lost(3)), StockRow("mug", 4, 4, 0)),
        ((FIVE, FOUR_FOR_A, lost(3), ISSUED), StockRow("mug", 0, 0, 0)),
        ((FIVE, FOUR_FOR_A, RELEASED), StockRow("mug", 5, 0, 5)),
        ((FIVE, FOUR_FOR_A), StockRow("mug", 5, 4, 1)),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_a_loss_takes_what_is_not_promised_and_the_view_shows_what_the_decider_knows(
    events: tuple[StockAdjusted | StockReceived | StockReserved, ...], row: StockRow
) -> None:
    """Old invoices write off what nobody told us had come in: it takes nothing from what came since."""
    assert rows(STOCK_LEVELS, *events) == {"mug": row}
    state = STOCK.fold(list(events))
    assert (state.on_hand, sum(state.reserved.values()), state.available) == (row.on_hand, row.reserved, row.available)


def test_of_what_nothing_ever_came_in_there_is_no_row() -> None:
    """A month of invoices adjusts a thousand products that nobody keeps."""
    assert rows(STOCK_LEVELS, lost(20), lost(1)) == {}
    given(STOCK, lost(20)).when(AdjustStock("mug", -1, "lost")).then(lost(1))


def test_what_is_remembered_of_settled_orders_is_bounded() -> None:
    many = [
        event
        for number in range(SETTLED_MAX + 5)
        for event in (StockReserved("mug", f"o{number}", 1), StockReleased("mug", f"o{number}", 1, ""))
    ]
    state = STOCK.fold([FIVE, *many])
    assert len(state.released) == SETTLED_MAX and state.released[-1] == f"o{SETTLED_MAX + 4}"


def test_an_order_of_the_largest_lines_can_be_reserved() -> None:
    """A process sums the lines of a product: what passes the door in a PlaceOrder passes here."""
    codec, largest = Codec(load_domain("twofold.shop")), LINES_MAX * QUANTITY_MAX
    for command in (ReceiveStock("mug", largest), ReserveStock("mug", "a", largest)):
        assert codec.command(type(command).__name__, encode(command)) == command
