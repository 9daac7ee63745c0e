"""Whoever performs calls is killed, again and again: no call is lost, no payment is held twice, every answer is one command."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest

from tests.contract.buses import until
from tests.system.faults.performing_child import open_queue
from twofold.kernel.effects import AskedCall
from twofold.shop.calls import AskAuthorisation, Notice
from twofold.shop.outside.simulated import SimulatedProvider

KILLS = 4
PAYMENTS = 150
NOTICES = 150
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def performing(kind: str, where: str, prefix: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.system.faults.performing_child", kind, where, prefix, str(folder)]
    child = subprocess.Popen(command, cwd=root)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def calls() -> list[AskedCall]:
    """A few of the payments are flaky, and a fifth is declined."""
    asked: list[tuple[str, msgspec.Struct]] = []
    for number in range(PAYMENTS):
        token = "tok_flaky" if number % 30 == 0 else "tok_declined" if number % 5 == 1 else "tok_ok"
        asked.append(("authorise", AskAuthorisation(f"p{number}", 100 + number, "GBP", token)))
    asked += [("notify", Notice(f"o{number}", "c", "confirmed")) for number in range(NOTICES)]
    return [
        AskedCall(str(uuid5(NAMESPACE_URL, str(n))), effect, "till", f"k{n}", msgspec.Raw(msgspec.json.encode(request)), NOW)
        for n, (effect, request) in enumerate(asked)
    ]


def sent(folder: Path) -> dict[str, set[str]]:
    """By command id what was sent under it. The last line may be half a line."""
    found: dict[str, set[str]] = defaultdict(set)
    path = folder / "sent"
    for line in path.read_text().split("\n")[:-1] if path.exists() else []:
        command_id, _, told = line.partition(" ")
        found[command_id].add(told)
    return found


@pytest.mark.parametrize("kind", ["embedded", "rabbit"])
def test_kill_9_loses_no_call_and_pays_nothing_twice(
    kind: str, tmp_path: Path, unique: str, request: pytest.FixtureRequest
) -> None:
    where = str(tmp_path / "log.db") if kind == "embedded" else request.getfixturevalue("broker_url")
    filling = open_queue(kind, where, unique)
    filling.broker().put(calls())
    if kind == "embedded":
        filling.close()
    pauses = random.Random(11)
    for _ in range(KILLS):
        before = len(sent(tmp_path))
        with performing(kind, where, unique, tmp_path) as child:
            until(lambda: len(sent(tmp_path)) > before, "the first answer after a kill")  # noqa: B023
            time.sleep(pauses.uniform(0.0, 0.1))
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert len(sent(tmp_path)) < PAYMENTS + NOTICES, "everything was done before the last kill"
    with performing(kind, where, unique, tmp_path):
        until(lambda: len(sent(tmp_path)) >= PAYMENTS + NOTICES, "every answer", 60.0)
        if kind == "rabbit":
            until(lambda: filling.waiting() == 0, "an empty queue")
    answers = sent(tmp_path)
    assert len(answers) == PAYMENTS + NOTICES
    assert {command_id: told for command_id, told in answers.items() if len(told) > 1} == {}, "a second answer is the same"
    held = SimulatedProvider(tmp_path).holdings()
    assert len(held) == len({holding.payment_id for holding in held}) == PAYMENTS * 4 // 5
    notices = [msgspec.json.decode(line)["order_id"] for line in (tmp_path / "notices").read_bytes().splitlines()]
    assert len(notices) == len(set(notices)) == NOTICES
    if kind == "rabbit":
        filling.close()
