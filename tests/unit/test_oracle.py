"""The oracle itself, on a file small enough to be added up by hand."""

from __future__ import annotations

import copy
import gzip
from pathlib import Path

import pytest

from tests.oracle import Tables, differences, expected
from twofold.shop.online_retail import SAMPLE

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
FILE = HEADER + "\n".join(
    [
        '1001,A1,"LANTERN, RED",3,2010-12-01T08:00:00,2.55,77,France',
        "1002,a1,LANTERN,1,2010-12-01T08:00:00,0.125,,EIRE",
        "1001,A1,,2,2010-12-01T08:01:00,1.00,77,France",
        "1001,POST,POSTAGE,1,2010-12-01T08:01:00,0.0,77,France",
        "1003,A1,damages,-4,2010-12-01T09:00:00,0.0,,France",
        "C1004,A1,LANTERN RED,-2,2010-12-02T10:00:00,2.55,77,France",
        "C1004,D,Discount,-1,2010-12-03T10:00:00,27.50,77,France",
        "C1005,A1,,-1,2010-12-02T11:00:00,1.00,88,Norway",
        "A1006,B,Adjust bad debt,1,2010-12-02T12:00:00,11062.06,,France",
        "1007,A1,,0,2010-12-02T13:00:00,1.00,77,France",
        "1008,BANK CHARGES,,5,2010-12-02T14:00:00,38970.00,77,France",
        "1008,A1,,-3,2010-12-02T14:00:00,0,77,France",
    ]
)


@pytest.fixture
def wanted(tmp_path: Path) -> Tables:
    path = tmp_path / "small.csv"
    path.write_text(FILE, encoding="utf-8")
    return expected(path)


def test_orders_hold_only_the_lines_that_were_sold(wanted: Tables) -> None:
    """Write-offs, zero lines and bad debts are on no order; an invoice's lines need not stand together."""
    assert set(wanted["orders"]) == {"1001", "1002", "1008"}
    assert wanted["orders"]["1001"] == {
        "order_id": "1001",
        "customer_id": "77",
        "status": "placed",
        "country": "France",
        "placed_at": "2010-12-01T08:00:00Z",
        "currency": "GBP",
        "lines": 3,
        "units": 6,
        "total": 965,
        "refunded": 0,
    }
    assert wanted["orders"]["1002"]["total"] == 13, "12.5 pence round up"
    assert wanted["orders"]["1008"]["total"] == 19_485_000


def test_customers_without_a_number_are_one_guest(wanted: Tables) -> None:
    """And one who only ever returned something is a customer without orders."""
    assert set(wanted["customer_orders"]) == {"77", "guest", "88"}
    assert wanted["customer_orders"]["77"] == {
        "customer_id": "77",
        "orders": 2,
        "units": 11,
        "spent": 19_485_965,
        "refunded": 3_260,
        "first_order_at": "2010-12-01T08:00:00Z",
        "last_order_at": "2010-12-02T14:00:00Z",
        "recent": ["1008", "1001"],
    }
    assert wanted["customer_orders"]["88"]["orders"] == 0
    assert wanted["customer_orders"]["88"]["first_order_at"] is None
    assert set(wanted["recent_orders"]) == {"77", "guest"}
    assert [order["total"] for order in wanted["recent_orders"]["77"]["orders"]] == [19_485_000, 965]


def test_products_keep_their_codes_as_they_are(wanted: Tables) -> None:
    """`A1` and `a1` are two products; a description is the latest that is not empty."""
    assert set(wanted["product_sales"]) == {"A1", "a1", "POST", "D", "BANK CHARGES"}
    assert wanted["product_sales"]["A1"] == {
        "sku": "A1",
        "description": "LANTERN RED",
        "orders": 1,
        "units_sold": 5,
        "units_returned": 3,
        "gross": 965,
        "refunded": 610,
    }
    assert wanted["product_sales"]["BANK CHARGES"]["description"] == ""


def test_refunds_count_on_the_day_and_in_the_country_of_the_return(wanted: Tables) -> None:
    """Every line of an invoice counts at the time of its first one."""
    day = wanted["sales_by_day"]
    assert day["2010-12-01"] == {"day": "2010-12-01", "orders": 2, "units": 7, "gross": 978, "refunded": 0, "net": 978}
    assert set(day) == {"2010-12-01", "2010-12-02"}
    assert day["2010-12-02"]["refunded"] == 3_360
    assert day["2010-12-02"]["net"] == 19_485_000 - 3_360
    assert wanted["sales_by_country"]["Norway"] == {
        "country": "Norway",
        "orders": 0,
        "units": 0,
        "gross": 0,
        "refunded": 100,
        "net": -100,
    }


def test_stock_is_what_the_lines_left(wanted: Tables) -> None:
    """5 sold, 3 returned, 7 written off."""
    assert wanted["inventory"]["A1"] == {"sku": "A1", "sold": 5, "returned": 3, "adjusted": -7, "on_hand": -9}
    assert wanted["inventory"]["D"] == {"sku": "D", "sold": 0, "returned": 1, "adjusted": 0, "on_hand": 1}
    assert "B" not in wanted["inventory"]


def test_every_kind_of_difference_is_named(wanted: Tables) -> None:
    """A checker that cannot see is worse than none."""
    actual = copy.deepcopy(wanted)
    assert differences(wanted, actual) == []
    actual["orders"]["1001"]["another_field"] = 1
    assert differences(wanted, actual) == [], "rows may say more"
    actual["orders"]["1001"]["total"] = 966
    actual["orders"]["1001"]["units"] = 6.0
    del actual["inventory"]["D"]
    actual["sales_by_day"]["2010-12-09"] = {}
    del actual["recent_orders"]
    assert differences(wanted, actual) == [
        "inventory/D: missing",
        "orders/1001.total: 966, should be 965",
        "orders/1001.units: 6.0, should be 6",
        "recent_orders/77: missing",
        "recent_orders/guest: missing",
        "sales_by_day/2010-12-09: should not be there",
    ]


def test_the_sample_month_is_the_known_one() -> None:
    """Figures that anybody can get from the file with a spreadsheet."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        assert sum(1 for _ in file) == 42_482
    month = expected(SAMPLE)
    assert len(month["orders"]) == 1_629
    assert sum(row["gross"] for row in month["sales_by_day"].values()) == 82_374_614
    assert sum(row["refunded"] for row in month["sales_by_country"].values()) == 7_478_912
    assert sum(row["adjusted"] for row in month["inventory"].values()) == -4_046
