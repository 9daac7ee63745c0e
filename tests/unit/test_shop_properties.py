"""Promises of every decider and view of the shop, tried on histories nobody thought of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from twofold.kernel.codec import Codec, encode, encode_event
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Rejected
from twofold.kernel.ids import slice_of
from twofold.kernel.log import Meta, Recorded
from twofold.kernel.messages import Command, Event, tag_of
from twofold.kernel.process import INSTANCE_EVENTS
from twofold.kernel.view import AnyView
from twofold.shop.customer import RegisterCustomer, UpdateLastLogin, UpdateProfile
from twofold.shop.notification import RecordNotification
from twofold.shop.order import (
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    PlaceOrder,
    RecordTracking,
    ReturnOrder,
    ShipOrder,
    UpdateShippingAddress,
)
from twofold.shop.payment import (
    AuthorisePayment,
    CapturePayment,
    PaymentCaptured,
    PaymentRefunded,
    RecordAuthorisation,
    RefundPayment,
    VoidPayment,
)
from twofold.shop.pieces import ReturnLine
from twofold.shop.product import ChangePrice, RegisterProduct
from twofold.shop.returns import RecordReturn
from twofold.shop.stock import AdjustStock, IssueStock, ReceiveStock, ReleaseStock, ReserveStock, Stock
from twofold.shop.values import OrderLine, ShippingAddress
from twofold.testing import NOON, rows

DOMAIN = load_domain("twofold.shop")
CODEC = Codec(DOMAIN)

ids = st.sampled_from(["1", "€ 2"])
skus = st.sampled_from(["mug", "Mug", "tea"])
texts = st.sampled_from(["", "LANTERN", "damages"])
countries = st.sampled_from(["France", "EIRE"])
moments = st.none() | st.datetimes(datetime(1901, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))
lines = st.lists(st.builds(OrderLine, skus, texts, st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4).map(tuple)
addresses = st.builds(ShippingAddress, texts, texts, texts, texts, countries)
return_lines = st.lists(st.builds(ReturnLine, skus, st.integers(1, 2)), min_size=1, max_size=2).map(tuple)
flags = st.booleans()
placings = st.builds(PlaceOrder, ids, ids, lines, addresses, placed_at=moments, fulfilment=st.sampled_from(["automatic", "none"]))
changes: st.SearchStrategy[Command] = st.one_of(
    st.builds(ConfirmOrder, ids),
    st.builds(UpdateShippingAddress, ids, addresses),
    st.builds(ShipOrder, ids, texts.filter(len), ids, moments),
    st.builds(RecordTracking, ids, ids, texts, moments),
    st.builds(DeliverOrder, ids, moments),
    st.builds(ReturnOrder, ids, texts, return_lines),
    st.builds(ReturnOrder, ids, texts),
    st.builds(CancelOrder, ids, texts),
)
stocks: st.SearchStrategy[Command] = st.one_of(
    st.builds(AdjustStock, skus, st.integers(-5, 5), texts, adjusted_at=moments),
    st.builds(ReceiveStock, skus, st.integers(1, 9), texts),
    st.builds(ReserveStock, skus, ids, st.integers(1, 5)),
    st.builds(ReleaseStock, skus, ids, texts),
    st.builds(IssueStock, skus, ids),
)
requests = st.builds(AuthorisePayment, ids, ids, st.integers(0, 9), st.just("GBP"), texts.filter(len))
payments: st.SearchStrategy[Command] = st.one_of(
    requests,
    st.builds(RecordAuthorisation, ids, flags, texts, texts),
    st.builds(CapturePayment, ids),
    st.builds(VoidPayment, ids, texts),
    st.builds(RefundPayment, ids, st.integers(1, 9), texts),
)
people: st.SearchStrategy[Command] = st.one_of(
    st.builds(RegisterCustomer, ids, ids, st.sampled_from(["a@b", "c@d.e"]), texts),
    st.builds(UpdateProfile, ids, st.none() | ids, st.none() | st.just("c@d.e"), st.none() | texts),
    st.builds(UpdateLastLogin, ids, moments),
    st.builds(RegisterProduct, skus, texts, st.integers(0, 3), texts),
    st.builds(ChangePrice, skus, st.integers(0, 3)),
    st.builds(RecordReturn, ids, ids, lines, countries, texts, returned_at=moments),
)
commands = st.one_of(placings, changes, stocks, payments, people)


@st.composite
def courses(draw: st.DrawFn) -> list[Command]:
    """What mostly follows on each other, with steps left out."""
    order_id, sku, is_late = draw(ids), draw(skus), draw(flags)
    begun: list[Command] = [
        msgspec.structs.replace(draw(placings), order_id=order_id),
        ReceiveStock(sku, draw(st.integers(5, 9))),
        ReserveStock(sku, order_id, draw(st.integers(1, 5))),
        msgspec.structs.replace(draw(requests), payment_id=order_id, order_id=order_id),
    ]
    late: list[Command] = [VoidPayment(order_id, ""), ReleaseStock(sku, order_id, ""), RecordAuthorisation(order_id, True, "p")]
    paid: list[Command] = [
        RecordAuthorisation(order_id, draw(flags), draw(texts)),
        ConfirmOrder(order_id),
        ShipOrder(order_id, "post", draw(ids), draw(moments)),
        IssueStock(sku, order_id),
        CapturePayment(order_id),
        RecordTracking(order_id, "sorted", draw(texts), draw(moments)),
        DeliverOrder(order_id, draw(moments)),
        RefundPayment(order_id, draw(st.integers(1, 9)), ""),
        ReturnOrder(order_id, ""),
    ]
    registered: list[Command] = [
        RegisterCustomer(order_id, "Ada", "a@b"),
        UpdateProfile(order_id, draw(st.none() | ids), None, draw(texts)),
        UpdateLastLogin(order_id, draw(moments)),
        RegisterProduct(sku, draw(texts), draw(st.integers(0, 3))),
        ChangePrice(sku, draw(st.integers(0, 3))),
        RecordNotification(f"{order_id}/shipped", order_id, "shipped", draw(ids)),
    ]
    steps = [*begun, *(late if is_late else paid), *registered]
    left_out = draw(st.sets(st.sampled_from(range(1, len(steps))), max_size=2))
    return [step for number, step in enumerate(steps) if number not in left_out]


histories: st.SearchStrategy[list[Command]] = st.tuples(
    st.lists(placings, min_size=1, max_size=2).map(list[Command]) | courses(),
    st.lists(changes | stocks | payments | people | commands, min_size=2, max_size=15),
).map(lambda parts: [*parts[0], *parts[1]])


class House:
    """The shop's deciders in memory, and the log they make."""

    def __init__(self, history: Sequence[Command] = ()) -> None:
        self.states: dict[str, Any] = {}
        self.log: list[Event] = []
        for command in history:
            self.take(command)

    def take(self, command: Command) -> list[Event] | None:
        """The new facts; None when it is rejected."""
        decider = DOMAIN.decider_of[tag_of(type(command))]
        stream = decider.stream_of(command)
        state = self.states.get(stream, decider.initial)
        try:
            events = list(decider.decided(state, command, NOON))
        except Rejected:
            return None
        self.states[stream] = decider.fold(events, state)
        self.log += events
        return events


def shown(view: AnyView, log: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """A view's rows as their JSON says."""
    as_json: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(rows(view, *log)))
    return as_json


def integers_in(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in integers_in(part)]
    if isinstance(value, list):
        return [number for part in value for number in integers_in(part)]
    return [value] if isinstance(value, int) else []


@pytest.mark.parametrize("fact", [fact for fact in DOMAIN.events.values() if fact not in INSTANCE_EVENTS], ids=tag_of)
def test_the_histories_below_hold_every_fact(fact: type[Event]) -> None:
    """A property that is tried on empty histories promises nothing."""
    unshrunk = settings(phases=[Phase.generate], max_examples=1_000)
    find(histories, lambda history: any(isinstance(event, fact) for event in House(history).log), settings=unshrunk)


@given(histories, commands)
def test_the_same_wish_twice_is_silent(history: list[Command], command: Command) -> None:
    """Where the command itself says which one it is: what moves pieces or money in part may be meant twice."""
    house = House(history)
    first = house.take(command)
    if isinstance(command, AdjustStock | ReceiveStock | RefundPayment):
        return
    if isinstance(command, ReturnOrder) and command.lines is not None:
        return
    assert house.take(command) == (None if first is None else [])


@given(histories, st.data())
def test_a_wish_meant_as_the_last_return_is_silent_once_all_is_back(history: list[Command], data: st.DataObject) -> None:
    """A fully returned order ignores the return that completed it."""
    house = House(history)
    command = data.draw(st.builds(ReturnOrder, ids, texts, return_lines))
    events = house.take(command)
    if events and house.states[f"order-{command.order_id}"].status == "returned":
        assert house.take(command) == []


@given(histories)
def test_no_piece_comes_back_twice(history: list[Command]) -> None:
    """What is left of a line lies between none and all of it."""
    for stream, state in House(history).states.items():
        if stream.startswith("order-") and state is not None:
            for line, left in zip(state.placed.lines, state.left, strict=True):
                assert 0 <= left <= line.quantity
            if state.status == "returned":
                assert not any(state.left)


@given(histories)
def test_no_piece_is_promised_twice(history: list[Command]) -> None:
    """What is promised is on hand, and what is left of it is not below nothing."""
    for stream, state in House(history).states.items():
        if isinstance(state, Stock):
            assert 0 <= state.available <= state.on_hand, stream
            assert all(quantity > 0 for quantity in state.reserved.values())


@given(histories)
def test_no_more_is_refunded_than_was_captured(history: list[Command]) -> None:
    log = House(history).log
    captured = {event.payment_id: event.amount for event in log if isinstance(event, PaymentCaptured)}
    refunds = [event for event in log if isinstance(event, PaymentRefunded)]
    for payment_id in {event.payment_id for event in refunds}:
        refunded = sum(event.amount for event in refunds if event.payment_id == payment_id)
        is_complete = any(event.is_complete for event in refunds if event.payment_id == payment_id)
        assert refunded == captured[payment_id] if is_complete else refunded < captured[payment_id]


@given(histories)
def test_facts_and_wishes_survive_json(history: list[Command]) -> None:
    """What is read back from the log or the broker is what was meant."""
    for command in history:
        assert CODEC.command(tag_of(type(command)), encode(command)) == command
    for event in House(history).log:
        tag, schema_version, data = encode_event(event)
        meta = Meta("id", "test", schema_version)
        assert CODEC.event(Recorded(1, "s", 1, tag, data, meta, NOON)) == event


@settings(max_examples=60, deadline=None)
@given(histories, st.data())
def test_a_fold_never_raises(history: list[Command], data: st.DataObject) -> None:
    """Not even on facts in an order that no decider would make, or with their beginning lost."""
    log = data.draw(st.permutations(House(history).log))
    log = log[data.draw(st.integers(0, len(log))) :]
    for decider in DOMAIN.deciders:
        decider.fold([event for event in log if isinstance(event, decider.events)])
    for view in DOMAIN.views.values():
        rows(view, *log)


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 4), st.data())
def test_a_view_built_in_one_go_equals_the_view_built_in_pieces(history: list[Command], slices: int, data: st.DataObject) -> None:
    """Page by page and slice by slice, with rows that went through JSON in between, as every store does."""
    log = House(history).log
    cut = data.draw(st.integers(0, len(log)))
    for view in DOMAIN.views.values():
        begun = rows(view, *log[:cut])
        stored = {key: msgspec.json.decode(msgspec.json.encode(row), type=view.row) for key, row in begun.items()}
        pieces: dict[str, msgspec.Struct] = {}
        for number in range(slices):
            mine = {key: row for key, row in stored.items() if slice_of(key, slices) == number}
            finished = rows(view, *log[cut:], start=mine, after=cut)
            pieces |= {key: row for key, row in finished.items() if slice_of(key, slices) == number}
        assert pieces == rows(view, *log)


@settings(max_examples=60, deadline=None)
@given(histories)
def test_every_view_tells_the_same_story(history: list[Command]) -> None:
    """Days, hours, countries, products and customers are sums of the same money; a row has its key and fits 64 bits."""
    log = House(history).log
    tables = {name: shown(view, log) for name, view in DOMAIN.views.items()}
    for name, view in DOMAIN.views.items():
        for key, row in tables[name].items():
            assert row[view.key] == key
        assert all(-(1 << 63) <= number < 1 << 63 for number in integers_in(tables[name]))

    def total(view: str, field: str) -> int:
        return sum(row[field] for row in tables[view].values())

    gross, refunded = total("sales_by_day", "gross"), total("sales_by_day", "refunded")
    assert (total("sales_by_country", "gross"), total("sales_by_country", "refunded")) == (gross, refunded)
    assert (total("sales_by_hour", "gross"), total("sales_by_hour", "refunded")) == (gross, refunded)
    assert (total("product_sales", "gross"), total("product_sales", "refunded")) == (gross, refunded)
    assert (total("customer_orders", "spent"), total("customer_orders", "refunded")) == (gross, refunded)
    assert total("orders", "total") == gross
    assert total("sales_by_day", "net") == total("sales_by_country", "net") == gross - refunded
    assert total("sales_by_day", "orders") == total("customer_orders", "orders") == len(tables["orders"])
    assert total("sales_by_day", "units") == total("product_sales", "units_sold") == total("inventory", "sold")
    assert total("product_sales", "units_returned") == total("inventory", "returned")
    for payment in tables["payments"].values():
        assert 0 <= payment["refunded"] <= payment["captured"] <= payment["amount"]
    for row in tables["stock"].values():
        assert row["available"] == row["on_hand"] - row["reserved"] >= 0
    for customer, row in tables["recent_orders"].items():
        assert [order["order_id"] for order in row["orders"]] == tables["customer_orders"][customer]["recent"]
        assert all(order["status"] == tables["orders"][order["order_id"]]["status"] for order in row["orders"])


def test_sums_of_the_largest_orders_fit_in_a_row() -> None:
    """At the bounds of the door, with room for millions more."""
    largest = OrderLine("mug", "d" * 1_000, 10_000_000, 100_000)
    address = ShippingAddress("", "", "", "", "France")
    log = House([PlaceOrder(str(number), "c", (largest,), address) for number in range(50)]).log
    assert len(log) == 50
    for view in DOMAIN.views.values():
        assert max(integers_in(shown(view, log)), default=0) * 1_000 < 1 << 63
