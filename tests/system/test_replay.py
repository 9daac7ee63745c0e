"""One real month, from HTTP to the read models, compared with the file; and the replay itself when things go wrong."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.embedded import Embedded
from tests.chaos.rooms import ROOT, wait_until
from tests.oracle import differences, expected
from tests.system.replaying import call, head_of, replay, replay_command, served, tables, wait_caught_up
from twofold.shop.online_retail import SAMPLE

MONTH = "orders 1629, returns 326, adjustments 70, skipped 0\n"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
PLACE = {
    "order_id": "2",
    "customer_id": "ada",
    "lines": [{"sku": "mug", "description": "MUG", "quantity": 1, "unit_price": 250}],
    "shipping_address": {"name": "Ada", "line1": "", "city": "", "postcode": "", "country": "France"},
    "fulfilment": "none",
}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[int]:
    """The port of `twofold up` on an empty folder."""
    with Embedded(tmp_path) as system:
        assert system.room.port is not None
        yield system.room.port


def test_a_replayed_month_is_what_the_file_says_embedded(embedded: int) -> None:
    """Every view, to the penny; and a second replay is 2,025 duplicates, not one new fact."""
    first = replay(SAMPLE, embedded)
    assert (first.returncode, first.stdout, first.stderr) == (0, MONTH, "")
    assert head_of(embedded) == 2_025
    wait_caught_up(embedded, 2_025)
    assert differences(expected(SAMPLE), tables(embedded)) == []
    second = replay(SAMPLE, embedded)
    assert (second.returncode, second.stdout, second.stderr) == (0, MONTH, "")
    assert head_of(embedded) == 2_025


def test_a_replayed_month_is_what_the_file_says_served(
    postgres_url: str, broker_url: str, redis_url: str, unique: str, tmp_path: Path
) -> None:
    """The same through PostgreSQL, RabbitMQ and Redis, two processes of each room; both gateways tell the same."""
    with served(postgres_url, broker_url, redis_url, unique, tmp_path) as (one, other):
        first = replay(SAMPLE, one)
        assert (first.returncode, first.stdout, first.stderr) == (0, MONTH, "")
        assert head_of(other) == 2_025
        wait_caught_up(other, 2_025)
        assert differences(expected(SAMPLE), tables(other)) == []
        second = replay(SAMPLE, other)
        assert (second.returncode, second.stdout, second.stderr) == (0, MONTH, "")
        assert head_of(one) == 2_025
        assert tables(one) == tables(other)


def test_a_replay_outlives_the_death_of_the_system(tmp_path: Path) -> None:
    """It tries again until the door is open, and goes on where it was: nothing lost, nothing doubled."""
    with Embedded(tmp_path) as system:
        port = system.room.port
        assert port is not None
        command = replay_command(SAMPLE, port, "--limit", "400", "--rate", "200/s")
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            for _ in range(3):
                time.sleep(0.5)
                system.room.kill()
                system.room.start()
                system.room.wait_ready()
            said, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
        assert head_of(port) == 400, said
        again = replay(SAMPLE, port, "--limit", "400")
        assert (again.returncode, again.stdout) == (0, said)
        assert head_of(port) == 400


def test_a_stopped_replay_says_how_to_go_on(embedded: int) -> None:
    """Ctrl-C ends it at once, without a traceback; starting it again completes it."""
    command = replay_command(SAMPLE, embedded, "--limit", "100", "--rate", "20")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_until("the first order is there", lambda: head_of(embedded) > 0, 30.0)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=10)
    assert running.returncode == 130
    assert errors == "online_retail: stopped; start this again to go on from here\n"
    assert 0 < head_of(embedded) < 100
    assert replay(SAMPLE, embedded, "--limit", "100").returncode == 0
    assert head_of(embedded) == 100


def test_a_command_that_does_not_take_effect_fails_the_replay(embedded: int, tmp_path: Path) -> None:
    """Refused at the door or rejected behind it: named with its invoice; the others are not held up."""
    status, _ = call(embedded, "POST", "/commands/PlaceOrder", PLACE)
    assert status == 200
    path = tmp_path / "invoices.csv"
    path.write_text(
        HEADER
        + "1,mug,MUG,1,2010-12-01T08:00:00,2.50,ada,\n"
        + "2,mug,MUG,1,2010-12-01T08:00:00,2.50,ada,France\n"
        + "3,mug,MUG,1,2010-12-01T08:00:00,2.50,ada,France\n"
    )
    done = replay(path, embedded)
    assert done.returncode == 1
    assert done.stdout == "orders 3, returns 0, adjustments 0, skipped 0\n"
    refused, rejected = sorted(done.stderr.splitlines())
    assert refused.startswith("invoice 1: PlaceOrder refused: ") and "/shipping_address/country" in refused
    assert rejected == "invoice 2: PlaceOrder rejected: already-placed"
    assert head_of(embedded) == 2


def test_a_key_that_comes_back_with_another_invoice_fails_the_replay(embedded: int, tmp_path: Path) -> None:
    """A changed file is not silently taken for the one that was replayed before."""
    path = tmp_path / "invoices.csv"
    path.write_text(HEADER + "1,mug,MUG,1,2010-12-01T08:00:00,2.50,ada,France\n")
    assert replay(path, embedded).returncode == 0
    path.write_text(HEADER + "1,mug,MUG,1,2010-12-01T08:00:00,2.51,ada,France\n")
    done = replay(path, embedded)
    assert done.returncode == 1
    assert done.stderr.startswith("invoice 1: PlaceOrder refused: ")
    assert head_of(embedded) == 1


def test_another_server_at_the_address_is_noticed(embedded: int) -> None:
    """One line instead of a traceback."""
    done = replay(SAMPLE, embedded, "--limit", "1", "--url", f"http://127.0.0.1:{embedded}/elsewhere")
    assert done.returncode == 1
    assert done.stderr.startswith("online_retail: --url: POST /commands was answered 404") and done.stderr.count("\n") == 1
