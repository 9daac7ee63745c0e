"""An order on its way: confirmed, shipped, tracked, delivered, returned; and what may not be done any more, or not yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.unit.test_shop_order import AWAY, CANCELLED, PLACE, PLACED
from twofold.kernel.messages import Command, Event
from twofold.shop.order import (
    ORDER,
    STEPS_MAX,
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderReturned,
    OrderShipped,
    RecordTracking,
    ReturnOrder,
    ShipOrder,
    TrackingRecorded,
    UpdateShippingAddress,
)
from twofold.shop.payment import PaymentRequested, PaymentVoided
from twofold.shop.pieces import ReturnedLine, ReturnLine
from twofold.shop.views.customers import RECENT_ORDERS
from twofold.shop.views.orders import ORDERS
from twofold.shop.views.shipping import SHIPPING, ShippingRow, Step
from twofold.testing import NOON, given, rows

TEN = datetime(2026, 1, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
AUTOMATIC = msgspec.structs.replace(PLACED, fulfilment="automatic")
CONFIRMED = OrderConfirmed("7", "ada")
SHIP = ShipOrder("7", "post", "XY 1", TEN)
SHIPPED = OrderShipped("7", "ada", "post", "XY 1", TEN)
DELIVERED = OrderDelivered("7", "ada", TEN + 3 * HOUR)
SORTED = TrackingRecorded("7", "sorted", "Leeds", TEN + HOUR)
SOME_BACK = OrderReturned("7", "ada", "United Kingdom", (ReturnedLine(1, "mug", 1, 250),), 1, 250, "broken", False)

PAST: dict[str, tuple[Event, ...]] = {
    "by hand": (PLACED,),
    "placed": (AUTOMATIC,),
    "confirmed": (AUTOMATIC, CONFIRMED),
    "shipped": (AUTOMATIC, CONFIRMED, SHIPPED),
    "delivered": (AUTOMATIC, CONFIRMED, SHIPPED, DELIVERED),
    "partly returned": (AUTOMATIC, CONFIRMED, SHIPPED, DELIVERED, SOME_BACK),
    "cancelled": (AUTOMATIC, CONFIRMED, CANCELLED),
}
COMMANDS: dict[str, Command] = {
    "confirm": ConfirmOrder("7"),
    "cancel": CancelOrder("7", "late"),
    "readdress": UpdateShippingAddress("7", AWAY),
    "ship": SHIP,
    "track": RecordTracking("7", "sorted", "Leeds", TEN + HOUR),
    "deliver": DeliverOrder("7", TEN + 3 * HOUR),
    "return": ReturnOrder("7", "broken", (ReturnLine("mug", 1),)),
}
ALLOWED = """
                   confirm       cancel        readdress     ship           track         deliver       return
    by hand        yes           yes           yes           yes            not-shipped   not-shipped   yes
    placed         yes           yes           yes           not-confirmed  not-shipped   not-shipped   not-shipped
    confirmed      silent        yes           yes           yes            not-shipped   not-shipped   not-shipped
    shipped        silent        order-closed  order-closed  silent         yes           yes           yes
    delivered      silent        order-closed  order-closed  silent         yes           silent        yes
    partly_returned  silent      order-closed  order-closed  silent         yes           silent        yes
    cancelled      silent        silent        order-closed  order-closed   not-shipped   not-shipped   order-closed
"""
_, NAMES, *LINES = [line.split() for line in ALLOWED.splitlines()[:-1]]
TABLE = [
    (" ".join(words[: len(words) - len(NAMES)]).replace("_", " "), name, said)
    for words in LINES
    for name, said in zip(NAMES, words[len(words) - len(NAMES) :], strict=True)
]


@pytest.mark.parametrize(("past", "name", "said"), TABLE)
def test_what_may_be_done_depends_on_how_far_the_order_is(past: str, name: str, said: str) -> None:
    became = given(ORDER, *PAST[past]).when(COMMANDS[name])
    if said == "yes":
        assert became.rejection is None and len(became.events) == 1
    elif said == "silent":
        became.nothing_happened()
    else:
        became.rejected(said)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_nothing_is_done_with_an_order_that_was_never_placed(command: Command) -> None:
    given(ORDER).when(command).rejected("no-such-order")


def test_an_order_is_shipped_once() -> None:
    given(ORDER, *PAST["confirmed"]).when(SHIP).then(SHIPPED)
    other = ShipOrder("7", "post", "XY 2", TEN)
    given(ORDER, *PAST["shipped"]).when(other).rejected("already-shipped", carrier="post", tracking_number="XY 1")


def test_a_step_is_told_once_and_the_same_place_may_come_again() -> None:
    """Carriers repeat themselves: with a time, a step is known for good; without one, as long as nothing else was told."""
    given(ORDER, *PAST["shipped"]).when(COMMANDS["track"]).then(SORTED)
    given(ORDER, *PAST["shipped"], SORTED, DELIVERED).when(COMMANDS["track"]).nothing_happened()
    held, sorted_again = TrackingRecorded("7", "held", "", None), RecordTracking("7", "sorted", "Leeds")
    again = TrackingRecorded("7", "sorted", "Leeds", None)
    given(ORDER, *PAST["shipped"], again).when(sorted_again).nothing_happened()
    given(ORDER, *PAST["shipped"], again, held).when(sorted_again).then(again)


def test_a_carrier_tells_so_many_steps_and_no_more() -> None:
    steps = [TrackingRecorded("7", "sorted", str(number), None) for number in range(STEPS_MAX)]
    given(ORDER, *PAST["shipped"], *steps).when(COMMANDS["track"]).rejected("too-many-steps", maximum=STEPS_MAX)
    given(ORDER, *PAST["shipped"], *steps[1:]).when(COMMANDS["track"]).then(SORTED)


def test_the_token_of_an_order_by_hand_is_not_written_down() -> None:
    """And an order from before there were any is the same order when it is placed again."""
    by_hand = msgspec.structs.replace(PLACE, payment_token="tok_declined")
    given(ORDER).when(by_hand).then(PLACED)
    assert b"token" not in msgspec.json.encode(PLACED)
    automatic = msgspec.structs.replace(by_hand, fulfilment="automatic")
    placed = msgspec.structs.replace(AUTOMATIC, payment_token="tok_declined")
    given(ORDER).when(automatic).then(placed)
    given(ORDER, placed).when(automatic).nothing_happened()
    assert msgspec.json.decode(msgspec.json.encode(AUTOMATIC), type=OrderPlaced).payment_token == "tok_ok"


@pytest.mark.parametrize(
    ("past", "status"),
    [(past, past.replace(" ", "-")) for past in PAST if past != "by hand"],
)
def test_the_views_follow_the_order(past: str, status: str) -> None:
    assert rows(ORDERS, *PAST[past])["7"].status == status
    assert rows(RECENT_ORDERS, *PAST[past])["ada"].orders[0].status == status


def test_an_order_shows_its_payment_and_why_it_ended() -> None:
    asked = PaymentRequested("p", "7", 1_550, "GBP", "tok_hang")
    assert rows(ORDERS, AUTOMATIC)["7"].payment_status == "none"
    assert rows(ORDERS, AUTOMATIC, asked)["7"].payment_status == "requested"
    cancelled: OrderCancelled = msgspec.structs.replace(CANCELLED, reason="payment-timeout")
    row = rows(ORDERS, AUTOMATIC, asked, PaymentVoided("p", "7", "", "payment-timeout"), cancelled)["7"]
    assert (row.status, row.payment_status, row.reason) == ("cancelled", "voided", "payment-timeout")


def test_the_steps_stand_in_the_order_in_which_they_happened() -> None:
    """Carriers tell them late; a step without a time happened when it was recorded."""
    early = TrackingRecorded("7", "handed in", "", TEN - HOUR)
    untimed = TrackingRecorded("7", "seen", "Leeds", None)
    first, sorted_step = Step("shipped", "", TEN), Step("sorted", "Leeds", TEN + HOUR)
    row = rows(SHIPPING, AUTOMATIC, SHIPPED, SORTED, early, untimed, recorded_at=NOON)["7"]
    steps = (Step("seen", "Leeds", NOON), Step("handed in", "", TEN - HOUR), first, sorted_step)
    assert row == ShippingRow("7", "sorted", "post", "XY 1", steps)
    delivered = rows(SHIPPING, SHIPPED, DELIVERED, TrackingRecorded("7", "left at a neighbour's", "", TEN + 4 * HOUR))["7"]
    assert (delivered.status, delivered.delivered_at, len(delivered.steps)) == ("delivered", TEN + 3 * HOUR, 3)
    assert rows(SHIPPING, SORTED) == {}
