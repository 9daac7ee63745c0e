"""What a bug holds up waits where it can be seen, holds up nothing else, and goes on when the bug is fixed.

Through HTTP and the command line, embedded and served; the bugs are those of `jars.py`.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.embedded import Embedded
from tests.chaos.rooms import ROOT, Room, wait_until
from tests.chaos.served import Backends, Plan, Served
from tests.system.faults.jars import NEVER_SHOWABLE, UNCOUNTABLE, UNSHOWABLE

DOMAIN = "tests.system.faults.jars"
SECONDS_MAX = 20.0


class Jars:
    """A running system with the domain of jars, as its user and its operator see it."""

    def __init__(self, gateway: Room, rooms: list[Room], fixed: Path) -> None:
        self._gateway = gateway
        self._rooms = rooms
        self._fixed = fixed

    def fix(self) -> None:
        """Deploy the version without the bugs: every process is restarted."""
        self._fixed.touch()
        for room in self._rooms:
            assert room.stop()
            room.start()
        for room in self._rooms:
            room.wait_ready()

    def call(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=SECONDS_MAX * 2)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def put_in(self, *commands: tuple[str, int]) -> list[str]:
        """Their command ids, all posted at once."""
        status, answer = self.call("POST", "/commands", [{"type": "PutIn", "data": {"jar": j, "count": n}} for j, n in commands])
        assert (status, answer["refused"]) == (202, [])
        return [item["command_id"] for item in answer["accepted"]]

    def status(self, command_id: str) -> str:
        """Waits for an outcome."""
        _, answer = self.call("GET", f"/commands/{command_id}", headers={"Prefer": f"wait={SECONDS_MAX:.0f}"})
        return str(answer["status"])

    def row(self, jar: str, token: str | None = None) -> Any:
        headers = {} if token is None else {"Consistency-Token": token, "Prefer": f"wait={SECONDS_MAX:.0f}"}
        status, answer = self.call("GET", f"/views/jars/{jar}", headers=headers)
        return answer if status == 200 else None

    def parked_keys(self) -> dict[str, dict[str, Any]]:
        """By key of `jars`."""
        return {key["key"]: key for key in self.parked()["keys"]}

    def waiting(self, key: str) -> int:
        return int(self.parked_keys().get(key, {"waiting": 0})["waiting"])

    def parked(self) -> dict[str, list[dict[str, Any]]]:
        status, answer = self.call("GET", "/parked")
        assert status == 200
        return dict(answer)

    def twofold(self, *arguments: str) -> str:
        """Output of the command line; it must succeed."""
        environment = {**self._gateway.environment, "COLUMNS": "200"}
        command = [sys.executable, "-m", "twofold", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def eventually(claim: Callable[[], bool], what: str) -> None:
    wait_until(what, claim, SECONDS_MAX)


@pytest.fixture(params=["embedded", "served"])
def jars(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jars]:
    fixed = tmp_path / "fixed"
    environment = {"JARS_FIXED": str(fixed)}
    if request.param == "embedded":
        with Embedded(tmp_path, DOMAIN, environment=environment) as embedded:
            yield Jars(embedded.room, [embedded.room], fixed)
        return
    backends: Backends = request.getfixturevalue("backends")
    plan = Plan(DOMAIN, gateways=1, workers=1, projectors=1, environment=environment)
    with Served(backends, tmp_path, plan) as served:
        yield Jars(served.gateways[0], [*served.workers, *served.projectors], fixed)


def test_a_bug_parks_its_command_alone_and_a_retry_decides_it_anew(jars: Jars) -> None:
    """The neighbours, also those on the same stream and in the same batch, never notice."""
    ids = jars.put_in(("a", 1), ("a", UNCOUNTABLE), ("b", 5), ("a", 2), ("b", UNCOUNTABLE))
    assert [jars.status(command_id) for command_id in ids] == ["succeeded", "parked", "succeeded", "succeeded", "parked"]
    assert jars.row("a", ids[3])["counts"] == [1, 2]
    assert jars.row("b", ids[2])["counts"] == [5]

    retried, discarded = jars.parked()["commands"]
    assert [retried["command_id"], discarded["command_id"]] == [ids[1], ids[4]]
    listed = jars.twofold("parked", "list")
    assert retried["ref"] in listed and "thirteen is not a number" in listed
    shown = json.loads(jars.twofold("parked", "show", retried["ref"]))
    assert shown["envelope"]["data"] == {"jar": "a", "count": UNCOUNTABLE}
    assert "ArithmeticError: thirteen is not a number" in shown["error"] and "in decide" in shown["error"]

    jars.twofold("parked", "discard", discarded["ref"])
    assert [command["ref"] for command in jars.parked()["commands"]] == [retried["ref"]]

    jars.fix()
    asked = json.loads(jars.twofold("parked", "retry", retried["ref"]))
    assert asked == {"status": "accepted", "command_id": ids[1]}
    eventually(lambda: jars.status(ids[1]) == "succeeded", "the retried command succeeds")
    assert json.loads(jars.twofold("outcome", ids[1]))["status"] == "succeeded"
    assert jars.row("a", ids[1])["counts"] == [1, 2, UNCOUNTABLE]
    assert jars.status(ids[4]) == "parked"
    assert jars.row("b")["counts"] == [5]
    assert jars.parked()["commands"] == []


def test_a_poison_event_parks_its_key_alone_and_a_retry_drains_the_line_in_order(jars: Jars) -> None:
    ids = jars.put_in(
        ("a", 1), ("b", 1), ("a", UNSHOWABLE), ("a", 2), ("b", 2), ("c", 1), ("c", NEVER_SHOWABLE), ("a", 3), ("c", 4)
    )
    assert {jars.status(command_id) for command_id in ids} == {"succeeded"}
    assert jars.row("b", ids[4])["counts"] == [1, 2]
    eventually(lambda: (jars.waiting("a"), jars.waiting("c")) == (3, 2), "two keys are parked, with their lines")
    assert jars.row("a")["counts"] == [1]
    assert jars.row("c")["counts"] == [1]
    assert jars.parked_keys().keys() == {"a", "c"}
    a, c = jars.parked_keys()["a"], jars.parked_keys()["c"]
    assert a["ref"] in jars.twofold("parked", "list")
    assert f"{UNSHOWABLE} cannot be shown" in json.loads(jars.twofold("parked", "show", a["ref"]))["error"]

    later = jars.put_in(("a", 4), ("b", 3))
    assert {jars.status(command_id) for command_id in later} == {"succeeded"}
    assert jars.row("b", later[1])["counts"] == [1, 2, 3]
    eventually(lambda: jars.waiting("a") == 4, "later events of the key wait behind it")
    assert jars.row("a")["counts"] == [1]

    jars.fix()
    jars.twofold("parked", "retry", a["ref"])
    eventually(lambda: jars.row("a")["counts"] == [1, UNSHOWABLE, 2, 3, 4], "the line is drained, in order")
    jars.twofold("parked", "retry", c["ref"])
    eventually(lambda: bool(jars.parked_keys()["c"]["attempts"] > 1), "a retry that fails again stays parked")
    assert jars.row("c")["counts"] == [1]
    jars.twofold("parked", "discard", c["ref"])
    eventually(lambda: jars.row("c")["counts"] == [1, 4], "without the poison event the rest of the line is drained")
    assert jars.parked_keys() == {}
