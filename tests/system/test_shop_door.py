"""Wrong input for every command of the shop, through a real gateway: the exact problem, or the exact code of the rejection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guards.instance import Instance, running
from tests.system.test_changed_view import call
from twofold.kernel.domain import load_domain

DOMAIN = load_domain("twofold.shop")
LONG = "x" * 201
ADDRESS = {"name": "Ada", "line1": "1 Mill Lane", "city": "Leeds", "postcode": "LS1", "country": "United Kingdom"}
LINE = {"sku": "mug", "description": "MUG", "quantity": 2, "unit_price": 250}
GOOD: dict[str, dict[str, Any]] = {
    "PlaceOrder": {"order_id": "o", "customer_id": "c", "lines": [LINE], "shipping_address": ADDRESS, "fulfilment": "none"},
    "CancelOrder": {"order_id": "o", "reason": "late"},
    "UpdateShippingAddress": {"order_id": "o", "shipping_address": ADDRESS},
    "ShipOrder": {"order_id": "o", "carrier": "post", "tracking_number": "XY 1"},
    "RecordTracking": {"order_id": "o", "status": "sorted"},
    "DeliverOrder": {"order_id": "o"},
    "ReturnOrder": {"order_id": "o", "reason": "broken"},
    "RecordReturn": {"return_id": "r", "customer_id": "c", "lines": [LINE], "country": "Norway", "reason": "broken"},
    "AdjustStock": {"sku": "mug", "quantity": 1, "reason": "found"},
    "ReceiveStock": {"sku": "mug", "quantity": 1},
    "RegisterProduct": {"sku": "mug", "description": "MUG", "price": 250},
    "ChangePrice": {"sku": "mug", "price": 250},
    "RefundPayment": {"payment_id": "p", "amount": 1, "reason": "broken"},
    "RegisterCustomer": {"customer_id": "c", "name": "Ada", "email": "ada@example.org"},
    "UpdateProfile": {"customer_id": "c"},
    "UpdateLastLogin": {"customer_id": "c"},
}
NEEDED = [(tag, field) for tag, body in GOOD.items() for field in body if field != "fulfilment"]
INTERNAL = (
    *("ConfirmOrder", "ReserveStock", "ReleaseStock", "IssueStock"),
    *("AuthorisePayment", "RecordAuthorisation", "CapturePayment", "VoidPayment", "RecordNotification"),
    *("FireTimer", "GiveUpCall", "NoteRejection", "RetryInstance", "CancelInstance"),
)
NO_CONTROL = r"Expected `str` matching regex '^[^\\x00-\\x1f\\x7f-\\x9f]+$(?!\\n)'"
WRONG: list[tuple[str, str, Any, str]] = [
    ("PlaceOrder", "/lines", [], "Expected `array` of length >= 1"),
    ("PlaceOrder", "/lines", [LINE] * 2_001, "Expected `array` of length <= 2000"),
    ("PlaceOrder", "/lines/0/quantity", 0, "Expected `int` >= 1"),
    ("PlaceOrder", "/lines/0/quantity", -3, "Expected `int` >= 1"),
    ("PlaceOrder", "/lines/0/unit_price", -1, "Expected `int` >= 0"),
    ("PlaceOrder", "/lines/0/unit_price", 2.5, "Expected `int`, got `float`"),
    ("PlaceOrder", "/shipping_address/country", "", "Expected `str` of length >= 1"),
    ("PlaceOrder", "/currency", "pounds", "Expected `str` matching regex '^[A-Z]{3}$(?!\\\\n)'"),
    ("PlaceOrder", "/placed_at", "2010-12-01T09:00:00", "Expected `datetime` with a timezone component"),
    ("PlaceOrder", "/fulfilment", "by hand", "Invalid enum value 'by hand'"),
    ("PlaceOrder", "/payment_token", LONG, "Expected `str` of length <= 200"),
    ("PlaceOrder", "/order_id", "a\nb", NO_CONTROL),
    ("CancelOrder", "/reason", "x" * 1_001, "Expected `str` of length <= 1000"),
    ("UpdateShippingAddress", "/shipping_address/city", LONG, "Expected `str` of length <= 200"),
    ("ShipOrder", "/carrier", "", "Expected `str` of length >= 1"),
    ("ShipOrder", "/tracking_number", LONG, "Expected `str` of length <= 200"),
    ("ShipOrder", "/shipped_at", "yesterday", "Invalid RFC3339 encoded datetime"),
    ("RecordTracking", "/status", "", "Expected `str` of length >= 1"),
    ("RecordTracking", "/place", LONG, "Expected `str` of length <= 200"),
    ("RecordTracking", "/at", 7, "Expected `datetime | null`, got `int`"),
    ("DeliverOrder", "/delivered_at", "", "Invalid RFC3339 encoded datetime"),
    ("ReturnOrder", "/lines", [], "Expected `array` of length >= 1"),
    ("ReturnOrder", "/lines", [{"sku": "mug", "quantity": -1}], "Expected `int` >= 1"),
    ("RecordReturn", "/country", LONG, "Expected `str` of length <= 200"),
    ("AdjustStock", "/quantity", 10_000_001, "Expected `int` <= 10000000"),
    ("AdjustStock", "/quantity", -10_000_001, "Expected `int` >= -10000000"),
    ("ReceiveStock", "/quantity", 0, "Expected `int` >= 1"),
    ("ReceiveStock", "/quantity", -5, "Expected `int` >= 1"),
    ("ReceiveStock", "/reference", LONG, "Expected `str` of length <= 200"),
    ("RegisterProduct", "/price", -1, "Expected `int` >= 0"),
    ("RegisterProduct", "/category", LONG, "Expected `str` of length <= 200"),
    ("ChangePrice", "/price", -1, "Expected `int` >= 0"),
    ("ChangePrice", "/price", 100_000_001, "Expected `int` <= 100000000"),
    ("RefundPayment", "/amount", 0, "Expected `int` >= 1"),
    ("RefundPayment", "/amount", -100, "Expected `int` >= 1"),
    ("RegisterCustomer", "/name", "", "Expected `str` of length >= 1"),
    ("RegisterCustomer", "/phone", "0" * 51, "Expected `str` of length <= 50"),
    ("UpdateProfile", "/name", "", "Expected `str` of length >= 1"),
    ("UpdateLastLogin", "/at", "2010-12-01", "Invalid RFC3339 encoded datetime"),
]
"""Command, where, what stands there, what the door says of it. Of deeper places, the pointer may say more."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running(tmp_path_factory.mktemp("door")) as instance:
        yield instance


def post(shop: Instance, tag: str, body: Any) -> tuple[int, Any]:
    return call(shop.port, "POST", f"/commands/{tag}", body, {"Prefer": "wait=10"})


def is_refused(answer: tuple[int, Any], pointer: str, detail: str) -> None:
    status, problem = answer
    assert (status, problem["type"]) == (400, "/problems/malformed"), problem
    assert problem["errors"] == [{"pointer": pointer, "detail": detail}]


def test_every_command_is_tried() -> None:
    """A command that is added is added here."""
    assert set(GOOD) == set(DOMAIN.commands) - DOMAIN.internal
    assert set(INTERNAL) == DOMAIN.internal
    assert {tag for tag, _, _, _ in WRONG} | {"UpdateProfile"} == set(GOOD)


@pytest.mark.parametrize(("tag", "field"), NEEDED)
def test_a_field_that_has_to_be_there_is_missed(shop: Instance, tag: str, field: str) -> None:
    body = {name: value for name, value in GOOD[tag].items() if name != field}
    is_refused(post(shop, tag, body), f"/{field}", f"Object missing required field `{field}`")


@pytest.mark.parametrize(("tag", "field"), NEEDED)
def test_a_field_of_another_type_is_refused(shop: Instance, tag: str, field: str) -> None:
    good = GOOD[tag][field]
    expected = {str: "str", int: "int", list: "array", dict: "object"}[type(good)]
    is_refused(post(shop, tag, {**GOOD[tag], field: True}), f"/{field}", f"Expected `{expected}`, got `bool`")


@pytest.mark.parametrize("tag", GOOD)
def test_a_field_nobody_knows_is_refused(shop: Instance, tag: str) -> None:
    is_refused(post(shop, tag, {**GOOD[tag], "vat": 1}), "/vat", "Object contains unknown field `vat`")


@pytest.mark.parametrize(
    ("tag", "pointer", "value", "detail"),
    WRONG,
    ids=[f"{tag}{pointer}-{number}" for number, (tag, pointer, _, _) in enumerate(WRONG)],
)
def test_what_is_out_of_bounds_is_refused(shop: Instance, tag: str, pointer: str, value: Any, detail: str) -> None:
    first, *rest = pointer.strip("/").split("/")
    body = {**GOOD[tag], first: value}
    if rest[:1] == ["0"]:
        body[first] = [{**LINE, rest[1]: value}]
    elif rest:
        body[first] = {**ADDRESS, rest[0]: value}
    status, problem = post(shop, tag, body)
    (error,) = problem["errors"]
    assert (status, problem["type"]) == (400, "/problems/malformed")
    assert error["pointer"].startswith(pointer) and error["detail"] == detail


@pytest.mark.parametrize("email", ["", "ada", "ada@", "a da@example.org", "ada@example.org\n", "@"])
@pytest.mark.parametrize("tag", ["RegisterCustomer", "UpdateProfile"])
def test_what_is_no_address_of_mail_is_refused(shop: Instance, tag: str, email: str) -> None:
    status, problem = post(shop, tag, {**GOOD[tag], "email": email})
    assert (status, problem["errors"][0]["pointer"]) == (400, "/email")
    assert re.match("Expected `str` matching regex", problem["errors"][0]["detail"])


@pytest.mark.parametrize("tag", INTERNAL)
def test_what_processes_alone_send_is_refused_before_it_is_read(shop: Instance, tag: str) -> None:
    status, problem = post(shop, tag, {})
    assert (status, problem["type"]) == (403, "/problems/internal-command")


def test_the_command_line_says_so_too(shop: Instance) -> None:
    sent = shop.run("""twofold send ConfirmOrder '{"order_id": "o"}'""")
    assert (sent.returncode, sent.stderr.startswith("twofold: Only processes send this command")) == (1, True), sent.stderr


PLACE: tuple[str, dict[str, Any]] = ("PlaceOrder", {})
SHIP: tuple[str, dict[str, Any]] = ("ShipOrder", {})
REJECTED: list[tuple[list[tuple[str, dict[str, Any]]], str, dict[str, Any]]] = [
    ([("CancelOrder", {})], "no-such-order", {}),
    ([("UpdateShippingAddress", {})], "no-such-order", {}),
    ([SHIP], "no-such-order", {}),
    ([("RecordTracking", {})], "no-such-order", {}),
    ([("DeliverOrder", {})], "no-such-order", {}),
    ([("ReturnOrder", {})], "no-such-order", {}),
    ([PLACE, ("PlaceOrder", {"customer_id": "d"})], "already-placed", {}),
    ([("PlaceOrder", {"lines": [{**LINE, "quantity": 10_000_000, "unit_price": 100_000_000}]})], "total-too-large", {}),
    ([PLACE, ("RecordTracking", {})], "not-shipped", {"status": "placed"}),
    ([PLACE, ("DeliverOrder", {})], "not-shipped", {"status": "placed"}),
    ([PLACE, SHIP, ("CancelOrder", {})], "order-closed", {"status": "shipped"}),
    ([PLACE, SHIP, ("UpdateShippingAddress", {"shipping_address": {**ADDRESS, "city": "York"}})], "order-closed", {}),
    ([PLACE, SHIP, ("ShipOrder", {"carrier": "other"})], "already-shipped", {"carrier": "post", "tracking_number": "XY 1"}),
    ([PLACE, ("CancelOrder", {}), SHIP], "order-closed", {"status": "cancelled"}),
    ([PLACE, ("CancelOrder", {}), ("ReturnOrder", {})], "order-closed", {"status": "cancelled"}),
    ([PLACE, ("ReturnOrder", {"lines": [{"sku": "mug", "quantity": 3}]})], "more-than-ordered", {"sku": "mug", "left": 2}),
    ([PLACE, ("ReturnOrder", {"lines": [{"sku": "cup", "quantity": 1}]})], "more-than-ordered", {"sku": "cup", "left": 0}),
    ([("RecordReturn", {}), ("RecordReturn", {"country": "Sweden"})], "already-recorded", {}),
    ([("ChangePrice", {})], "no-such-product", {}),
    ([("RegisterProduct", {}), ("RegisterProduct", {"price": 251})], "already-registered", {}),
    ([("RefundPayment", {})], "no-such-payment", {}),
    ([("UpdateProfile", {"name": "Bob"})], "no-such-customer", {}),
    ([("UpdateLastLogin", {})], "no-such-customer", {}),
    ([("RegisterCustomer", {}), ("RegisterCustomer", {"name": "Bob"})], "already-registered", {}),
]


@pytest.mark.parametrize(
    "number", range(len(REJECTED)), ids=lambda number: f"{number}-{REJECTED[number][0][-1][0]}-{REJECTED[number][1]}"
)
def test_what_does_not_fit_the_state_is_rejected(shop: Instance, number: int) -> None:
    """What was sent before is accepted; the last one is not."""
    commands, code, details = REJECTED[number]
    answers = []
    for tag, change in commands:
        key = DOMAIN.decider_of[tag].key
        answers.append(post(shop, tag, {**GOOD[tag], key: f"rejected-{number}", **change}))
    *before, (status, problem) = answers
    assert [said for said, _ in before] == [200] * len(before), before
    assert (status, problem["type"], problem["code"]) == (409, "/problems/rejected", code)
    assert details.items() <= problem["details"].items()
