"""A command that kills whoever decides it: it alone is parked, everybody else is decided, in order, and no letter dies."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.embedded import Embedded
from tests.chaos.rooms import Room
from tests.chaos.served import Backends, Plan, Served
from twofold.bus.rabbitmq.topology import lane_depths

DOMAIN = "tests.system.faults.anvils"
SECONDS_MAX = 60.0
ANVILS = ("a", "b", "c")
BATCHES, STRIKES = 4, 12


class Smithy:
    """A running system, one of whose rooms decides and is started again whenever it has died, as its supervisor would."""

    def __init__(self, gateway: Room, deciding: Room) -> None:
        self._gateway = gateway
        self._deciding = deciding
        self.deaths = 0

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer, once there is one."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            self._revive()
            connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=10.0)
            try:
                data = None if body is None else json.dumps(body)
                connection.request(method, path, data, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status < 500:
                    return json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            assert time.monotonic() < deadline, self._deciding.tail()
            time.sleep(0.05)

    def strike(self, strikes: list[dict[str, Any]]) -> list[str]:
        """Their command ids, all in one request. With keys: it is asked again when whoever was asked has died."""
        items = [{"type": "Strike", "data": data, "idempotency_key": json.dumps(data)} for data in strikes]
        answer = self.call("POST", "/commands", items)
        assert answer["refused"] == []
        return [item["command_id"] for item in answer["accepted"]]

    def status(self, command_id: str) -> str:
        deadline = time.monotonic() + SECONDS_MAX
        while (status := self.call("GET", f"/commands/{command_id}")["status"]) == "pending":
            assert time.monotonic() < deadline, self._deciding.tail()
            time.sleep(0.02)
        return str(status)

    def shown(self, anvil: str, numbers: list[int]) -> None:
        """Wait until the view has exactly these, in this order."""
        deadline = time.monotonic() + SECONDS_MAX
        while (row := self.call("GET", f"/views/anvils/{anvil}").get("numbers")) != numbers:
            assert time.monotonic() < deadline, f"{anvil}: {row}"
            time.sleep(0.05)

    def _revive(self) -> None:
        if not self._deciding.is_alive():
            self.deaths += 1
            self._deciding.start()


@pytest.fixture(params=["served", "embedded"])
def smithy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Smithy]:
    yield from running(DOMAIN, request, tmp_path)


@pytest.fixture(params=["served", "embedded"])
def forge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Smithy]:
    yield from running("tests.system.faults.forges", request, tmp_path)


def running(domain: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Smithy]:
    if request.param == "embedded":
        with Embedded(tmp_path, domain) as embedded:
            yield Smithy(embedded.room, embedded.room)
        return
    backends: Backends = request.getfixturevalue("backends")
    plan = Plan(domain, gateways=1, workers=1, projectors=1, environment={"TWOFOLD_LANES": "1"})
    with Served(backends, tmp_path, plan) as served:
        yield Smithy(served.gateways[0], served.workers[0])
        assert lane_depths(backends.rabbitmq.url, served.name, range(1)) == {"0": 0, "dead": 0}


def test_a_command_that_kills_its_worker_is_parked_alone_and_nobody_overtakes_anybody(smithy: Smithy) -> None:
    """Healthy neighbours before, beside and behind it, in its own batch and in others, take effect in the order in which they
    were accepted; the worker dies no more often than it takes to grow careful."""
    ids: dict[str, list[str]] = {anvil: [] for anvil in ANVILS}
    poison: list[str] = []
    for batch in range(BATCHES):
        strikes = [{"anvil": anvil, "number": batch * STRIKES + n} for n in range(STRIKES) for anvil in ANVILS]
        if batch == 1:
            strikes.insert(STRIKES, {"anvil": "a", "number": -1, "how": "kill"})
            strikes.append({"anvil": "b", "number": -1, "how": "exit"})
        for strike, command_id in zip(strikes, smithy.strike(strikes), strict=True):
            (poison if "how" in strike else ids[str(strike["anvil"])]).append(command_id)
    assert [smithy.status(command_id) for command_id in poison] == ["parked", "parked"]
    assert {smithy.status(command_id) for anvil in ANVILS for command_id in ids[anvil]} == {"succeeded"}
    for anvil in ANVILS:
        told = [smithy.call("GET", f"/commands/{command_id}")["version"] for command_id in ids[anvil]]
        assert told == list(range(1, BATCHES * STRIKES + 1))
    commands = smithy.call("GET", "/parked")["commands"]
    assert [command["command_id"] for command in commands] == poison
    shown = [smithy.call("GET", f"/parked/{command['ref']}")["error"] for command in commands]
    assert shown[0].count("killed by SIGKILL") == 3 and shown[1].count("exit status 7") == 3
    assert 1 <= smithy.deaths <= 3


def test_a_command_whose_inline_row_kills_its_worker_is_parked_alone(forge: Smithy) -> None:
    """Deciding it is harmless: what its event does to an inline view is not."""
    strikes: list[dict[str, Any]] = [{"anvil": anvil, "number": number} for number in range(STRIKES) for anvil in ANVILS]
    strikes.insert(STRIKES, {"anvil": "a", "number": -1, "how": "kill-row"})
    ids = forge.strike(strikes)
    assert forge.status(ids[STRIKES]) == "parked"
    assert {forge.status(command_id) for command_id in ids[:STRIKES] + ids[STRIKES + 1 :]} == {"succeeded"}
    for anvil in ANVILS:
        assert forge.call("GET", f"/views/forges/{anvil}")["numbers"] == list(range(STRIKES))
    [command] = forge.call("GET", "/parked")["commands"]
    assert forge.call("GET", f"/parked/{command['ref']}")["error"].count("killed by SIGKILL") == 3
    assert 1 <= forge.deaths <= 3


def test_embedded_the_process_begins_anew_when_deciding_comes_to_no_end(tmp_path: Path) -> None:
    """Its lanes would stand still for as long as nobody looks; nobody has to start it again."""
    with Embedded(tmp_path, DOMAIN) as embedded:
        embedded.room.stop()
        room = Room("up", ["up"], embedded.room.environment, tmp_path, embedded.room.port, ("tests.system.faults.hasty",))
        room.start()
        try:
            room.wait_ready()
            smithy = Smithy(room, room)
            ids = smithy.strike([{"anvil": "a", "number": 0}, {"anvil": "a", "number": 1, "how": "never"}])
            later = smithy.strike([{"anvil": "a", "number": 2}])
            assert [smithy.status(command_id) for command_id in ids + later] == ["succeeded", "parked", "succeeded"]
            assert smithy.deaths == 0
        finally:
            room.stop()
