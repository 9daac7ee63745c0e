"""The shop's dashboard as a customer's page would ask for it: a live view among stored ones, each write seen by its token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.guards.instance import Instance, running
from twofold.client import Gateway, RowAnswer

ADDRESS = {"name": "Ann", "line1": "1 High St", "city": "Leeds", "postcode": "LS1", "country": "United Kingdom"}
LINE = {"sku": "mug", "description": "A mug", "quantity": 2, "unit_price": 500}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running(tmp_path_factory.mktemp("shop")) as instance:
        yield instance


@pytest.fixture
def gateway(shop: Instance) -> Iterator[Gateway]:
    with Gateway(f"http://127.0.0.1:{shop.port}") as made:
        yield made


def place(gateway: Gateway, order_id: str, customer_id: str) -> str:
    order: dict[str, Any] = {"order_id": order_id, "customer_id": customer_id, "lines": [LINE], "shipping_address": ADDRESS}
    return gateway.send("PlaceOrder", order | {"fulfilment": "none"}).command_id


def dashboard(gateway: Gateway, token: str, customer_id: str) -> dict[str, Any]:
    row = gateway.get("customer_dashboard", customer_id, after=token, wait_seconds=20).row
    assert row is not None
    return row


def test_every_write_is_seen_by_its_token_whichever_stream_it_stands_in(gateway: Gateway, unique: str) -> None:
    """Profile and login stand in the customer's own stream; orders in streams that only another view's rows name."""
    gateway.send("RegisterCustomer", {"customer_id": unique, "name": "Ann", "email": "ann@example.org"}, wait_seconds=20)
    for number in range(12):
        row = dashboard(gateway, place(gateway, f"{unique}-{number:02}", unique), unique)
        assert (row["name"], row["orders"], row["spent"]) == ("Ann", number + 1, 1000 * (number + 1))
    assert [order["order_id"] for order in row["recent"]] == [f"{unique}-{number:02}" for number in range(11, 1, -1)]
    cancelled = gateway.send("CancelOrder", {"order_id": f"{unique}-11", "reason": "changed my mind"}).command_id
    row = dashboard(gateway, cancelled, unique)
    assert (row["recent"][0]["status"], row["refunded"], len(row["open"])) == ("cancelled", 1000, 11)
    login = gateway.send("UpdateLastLogin", {"customer_id": unique, "at": "2026-01-01T10:00:00Z"}).command_id
    row = dashboard(gateway, login, unique)
    assert row["last_login_at"] == "2026-01-01T10:00:00Z" and row["orders"] == 12
    history, page = gateway.queries(
        [{"view": "customer_orders", "key": unique}, {"view": "customer_dashboard", "key": unique}], after=login, wait_seconds=20
    )
    assert isinstance(history, RowAnswer) and isinstance(page, RowAnswer) and history.row and page.row
    assert {name: history.row[name] for name in ("orders", "spent", "refunded")} == {
        name: page.row[name] for name in ("orders", "spent", "refunded")
    }


def test_an_audit_of_every_view_says_that_there_is_nothing_to_compare(shop: Instance, gateway: Gateway, unique: str) -> None:
    token = place(gateway, unique, unique)
    dashboard(gateway, token, unique)
    ended = shop.run("twofold audit customer_dashboard")
    assert (ended.returncode, "nothing of it is stored" in ended.stdout) == (0, True), ended.stdout + ended.stderr
    ended = shop.run("twofold rebuild customer_dashboard")
    assert ended.returncode == 1 and "nothing of it is stored" in ended.stderr, ended.stdout + ended.stderr
