"""`twofold process`, as somebody types it, beside a running example: the rule across two aggregates, end to end."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.guards.instance import Instance, running
from twofold.cli import app
from twofold.client import Gateway
from twofold.kernel.errors import Error
from twofold.terminal import said

SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running(tmp_path_factory.mktemp("office"), "--domain", "examples.bills") as instance:
        yield instance


def typed(office: Instance, line: str, status: int = 0) -> str:
    """What it prints; of one that ends badly, what it says on stderr. In this process: starting one takes a second."""
    environment = {**office.environment, "COLUMNS": "200"}
    ended = CliRunner().invoke(app, shlex.split(line), env=environment)
    if isinstance(ended.exception, Error):
        assert status == 1, ended.exception
        return said(ended.exception)
    assert ended.exit_code == status, (ended.output, ended.exception)
    return ended.stdout if status == 0 else ended.stderr


def asked(office: Instance) -> Gateway:
    return Gateway(f"http://127.0.0.1:{office.port}")


def send(office: Instance, name: str, **fields: Any) -> None:
    assert asked(office).send(name, fields, wait_seconds=20).status == "succeeded"


def shown(office: Instance, key: str, wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not wanted(told := next(iter(asked(office).page("process_unpaid_bill", {"key": key}).items), None)):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    return told


def holds(office: Instance, customer: str) -> int:
    found = asked(office).get("customers", customer).row
    return found["holds"] if found else 0


def test_a_bill_that_is_overdue_holds_its_customer_back_until_it_is_paid(office: Instance) -> None:
    """A timer fires, a command is sent, and what became of it is seen by the process and by everybody else."""
    send(office, "SendBill", bill_id="late", customer_id="ann", amount=5, days=0.00001)
    deadline = time.monotonic() + SECONDS_MAX
    while not holds(office, "ann"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    send(office, "PayBill", bill_id="late")
    shown(office, "late", lambda told: told and told["status"] == "done")
    while holds(office, "ann"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "it is done" in typed(office, "process cancel unpaid_bill late --reason no", 1)


def test_instances_are_listed_by_state_and_called_off(office: Instance) -> None:
    send(office, "SendBill", bill_id="x/1", customer_id="bob", amount=5)
    shown(office, "x/1", lambda told: told and told["status"] == "running")
    assert [one["timer"] for one in json.loads(typed(office, "process show unpaid_bill x/1"))["timers"]] == ["overdue"]
    assert "unpaid_bill" in typed(office, "process list")
    assert "x/1" in typed(office, "process list --state running")
    assert "x/1" in typed(office, "process list unpaid_bill")
    assert typed(office, "process list --state stuck") == "there are none\n"
    retried = json.loads(typed(office, "process retry unpaid_bill x/1 --reason 'just to see'"))
    assert (retried["status"], retried["stream"]) == ("succeeded", "process-unpaid_bill/x/1")
    cancelled = json.loads(typed(office, "process cancel unpaid_bill x/1 --reason 'sent by mistake'"))
    assert cancelled["status"] == "succeeded"
    told = shown(office, "x/1", lambda told: told["status"] == "cancelled")
    assert told["timers"] == {}
    assert "x/1" in typed(office, "process list --state cancelled")
    ended = office.run("twofold process list --state cancelled")
    assert (ended.returncode, ended.stderr, "x/1" in ended.stdout) == (0, "", True)


def test_what_is_wrong_is_told_in_one_line(office: Instance) -> None:
    assert typed(office, "process show unpaid_bill nobody", 1) == (
        "The process has no such instance: nothing is known under this key, or not yet"
    )
    assert "There is no such process: those there are: unpaid_bill" in typed(office, "process list nothing", 1)
    assert "one of running, stuck, done, cancelled" in typed(office, "process list --state lost", 2)
    assert "--reason" in typed(office, "process retry unpaid_bill x", 2)
