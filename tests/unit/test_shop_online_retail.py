"""What each line of a file of invoices becomes, the dirty ones above all."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Malformed
from twofold.kernel.messages import tag_of
from twofold.shop.online_retail import SAMPLE
from twofold.shop.online_retail.__main__ import main, summary
from twofold.shop.online_retail.invoices import KeyedCommand, read
from twofold.shop.order import PlaceOrder
from twofold.shop.returns import RecordReturn
from twofold.shop.stock import AdjustStock
from twofold.shop.values import OrderLine, ShippingAddress

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
EIGHT = datetime(2010, 12, 1, 8, tzinfo=UTC)


def file_of(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "invoices.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def commands_of(folder: Path, *lines: str) -> list[KeyedCommand]:
    return read(file_of(folder, *lines)).commands


def test_an_invoice_becomes_one_order_with_its_lines_as_they_are(tmp_path: Path) -> None:
    """Lines that do not stand together included; codes, descriptions and their spaces untouched; the first line's time."""
    commands = commands_of(
        tmp_path,
        '1,a1, "RED",3,2010-12-01T08:00:00,2.55,77,France',
        "2,A1,,1,2010-12-01T08:00:00,0.0,,EIRE",
        "1,BANK CHARGES,,80995,2010-12-01T09:00:00,38970.00,77,France",
    )
    assert commands == [
        KeyedCommand(
            "1",
            "online-retail:1:order",
            PlaceOrder(
                order_id="1",
                customer_id="77",
                lines=(OrderLine("a1", ' "RED"', 3, 255), OrderLine("BANK CHARGES", "", 80_995, 3_897_000)),
                shipping_address=ShippingAddress("77", "", "", "", "France"),
                placed_at=EIGHT,
                fulfilment="none",
            ),
        ),
        KeyedCommand(
            "2",
            "online-retail:2:order",
            PlaceOrder(
                order_id="2",
                customer_id="guest",
                lines=(OrderLine("A1", "", 1, 0),),
                shipping_address=ShippingAddress("guest", "", "", "", "EIRE"),
                placed_at=EIGHT,
                fulfilment="none",
            ),
        ),
    ]


def test_negative_lines_of_an_invoice_become_adjustments(tmp_path: Path) -> None:
    """One each, also beside an order, and whatever their price says; the key counts the invoice's lines."""
    commands = commands_of(
        tmp_path,
        "1,A,damages,-4,2010-12-01T08:00:00,-1,,France",
        "1,B,MUG,1,2010-12-01T09:00:00,1,,France",
        "1,A,,-5,2010-12-01T09:00:00,,,France",
    )
    assert [command.key for command in commands] == [
        "online-retail:1:order",
        "online-retail:1:adjust:1",
        "online-retail:1:adjust:3",
    ]
    assert commands[0].command == PlaceOrder(
        order_id="1",
        customer_id="guest",
        lines=(OrderLine("B", "MUG", 1, 100),),
        shipping_address=ShippingAddress("guest", "", "", "", "France"),
        placed_at=EIGHT,
        fulfilment="none",
    )
    assert commands[1].command == AdjustStock("A", -4, "damages", EIGHT)
    assert commands[2].command == AdjustStock("A", -5, "unexplained", EIGHT.replace(hour=9))


def test_a_credit_note_becomes_one_return(tmp_path: Path) -> None:
    (command,) = commands_of(
        tmp_path,
        "C9,D,Discount,-1,2010-12-01T08:00:00,27.50,77,France",
        "C9,A,,0,2010-12-01T08:00:00,1,77,France",
        "C9,A,MUG,-2,2010-12-02T08:00:00,1,77,France",
    )
    assert command.key == "online-retail:C9:return"
    lines = (OrderLine("D", "Discount", 1, 2_750), OrderLine("A", "MUG", 2, 100))
    assert command.command == RecordReturn("C9", "77", lines, "France", "credit note", EIGHT)


def test_bad_debts_and_zero_lines_become_nothing_and_are_counted(tmp_path: Path) -> None:
    reading = read(
        file_of(
            tmp_path,
            "A1,B,Adjust bad debt,1,2010-12-01T08:00:00,-11062.06,,France",
            "A1,B,Adjust bad debt,1,2010-12-01T08:00:00,11062.06,,France",
            "2,A,,0,2010-12-01T08:00:00,1,,France",
            "C3,A,,0,2010-12-01T08:00:00,1,,France",
        )
    )
    assert reading.commands == []
    assert summary(reading) == "orders 0, returns 0, adjustments 0, skipped 4"


@pytest.mark.parametrize(
    ("pounds", "pence"),
    [("2.55", 255), ("0.125", 13), ("0.135", 14), ("0.1249", 12), ("1e2", 10_000), ("1.005", 101), (" 3 ", 300), ("-0.001", 0)],
)
def test_prices_are_rounded_half_up_a_piece(tmp_path: Path, pounds: str, pence: int) -> None:
    """In decimal: 1.005 pounds are 101 pence, which binary floats would get wrong."""
    (command,) = commands_of(tmp_path, f"1,A,,7,2010-12-01T08:00:00,{pounds},,France")
    assert isinstance(command.command, PlaceOrder)
    assert command.command.lines[0].unit_price == pence


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    lines = [
        "1,A,,-1,2010-12-01 08:00,0,,France",
        "1,A,,-1,2010-12-01T08:00:00Z,0,,France",
        "1,A,,-1,2010-12-01T09:00:00+01:00,0,,France",
    ]
    times = [command.command.adjusted_at for command in commands_of(tmp_path, *lines) if isinstance(command.command, AdjustStock)]
    assert times == [EIGHT] * 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,A,,1,2010-12-01T08:00:00,-0.01,,France", "line 3: UnitPrice '-0.01' is negative"),
        ("1,A,,1,2010-12-01T08:00:00,,,France", "line 3: UnitPrice '' is not a price"),
        ("1,A,,1,2010-12-01T08:00:00,NaN,,France", "line 3: UnitPrice 'NaN' is not a price"),
        ("1,A,,1,2010-12-01T08:00:00,1e999999999,,France", "line 3: UnitPrice '1e999999999' is not a price"),
        ("1,A,,1.5,2010-12-01T08:00:00,1,,France", "line 3: Quantity '1.5' is not a whole number"),
        ("1,A,,1,01/12/2010 8:00,1,,France", "line 3: InvoiceDate '01/12/2010 8:00' is not an ISO 8601 time"),
        ("1,A,,1,0001-01-01T00:00:00,1,,France", "line 3: InvoiceDate '0001-01-01T00:00:00' is not in the years 1900 to 2999"),
        ("X1,A,,1,2010-12-01T08:00:00,1,,France", "line 3: invoice 'X1' begins neither with a digit nor with A or C"),
        (",A,,1,2010-12-01T08:00:00,1,,France", "line 3: invoice '' begins neither with a digit nor with A or C"),
        ("1,A,,1,2010-12-01T08:00:00,1,France", "line 3: 7 fields instead of 8"),
    ],
)
def test_a_line_that_is_no_line_is_named_and_nothing_is_sent(
    tmp_path: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is read whole before the first command leaves: no half months."""
    path = file_of(tmp_path, "0,A,,1,2010-12-01T08:00:00,1,,France", line)
    with pytest.raises(Malformed) as malformed:
        read(path)
    assert malformed.value.detail == said
    assert main([str(path), "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == f"online_retail: {path}: {said}\n"


def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, for each way of not being one."""
    lone = file_of(tmp_path, header="InvoiceNo,Quantity")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(b"x" * 10_000)[:-20])
    plain = tmp_path / "plain.csv.gz"
    plain.write_text(HEADER)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + b"\n1,A,\xa350,1,2010-12-01T08:00:00,1,,France\n")
    for path in (lone, broken, plain, latin, tmp_path / "absent.csv", tmp_path):
        assert main([str(path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"online_retail: {path}: ") and said.count("\n") == 1


def test_a_limit_counts_invoices(tmp_path: Path) -> None:
    """Of every kind, in the order of the file, with all their lines."""
    lines = ["A1,B,,1,2010-12-01T08:00:00,1,,F", "2,A,,1,2010-12-01T08:00:00,1,,F", "3,A,,1,2010-12-01T08:00:00,1,,F"]
    path = file_of(tmp_path, *lines, "2,B,,1,2010-12-01T08:00:00,1,,F")
    reading = read(path, limit=2)
    assert summary(reading) == "orders 1, returns 0, adjustments 0, skipped 1"
    assert isinstance(reading.commands[0].command, PlaceOrder)
    assert len(reading.commands[0].command.lines) == 2


@pytest.mark.parametrize("arguments", [["--rate", "0"], ["--rate", "fast"], ["--limit", "0"], ["--limit", "1.5"]])
def test_a_wrong_argument_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(SAMPLE), *arguments])
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "127.0.0.1:8080"])
def test_an_address_that_is_none_is_said_to_be_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SAMPLE), "--limit", "1", "--url", url]) == 1
    assert url in capsys.readouterr().err


def test_every_wish_of_the_sample_month_passes_the_door() -> None:
    """And no two of them share a key."""
    codec = Codec(load_domain("twofold.shop"))
    reading = read(SAMPLE)
    assert summary(reading) == "orders 1629, returns 326, adjustments 70, skipped 0"
    assert len({command.key for command in reading.commands}) == len(reading.commands)
    for command in reading.commands:
        assert codec.command(tag_of(type(command.command)), encode(command.command)) == command.command
