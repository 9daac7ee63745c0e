"""A member that cannot do its share, or not yet, gets out of the way of those who can. Whole processes, real servers."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.chaos.proxy import Proxy
from tests.chaos.rooms import Room, wait_until
from tests.chaos.served import LANES, Backends, Plan, Served
from twofold.kernel.ids import lane_of

COUNTER = "examples.counter"
TALLIES = "tests.system.faults.tallies"
SECONDS_MAX = 30.0


def post(gateway: Room, command: str, **fields: object) -> str:
    """The id of a command that was accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SECONDS_MAX)
    try:
        connection.request("POST", f"/commands/{command}", json.dumps(fields), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 202, told
        return str(told["command_id"])
    finally:
        connection.close()


def of_each_lane(stream: str = "counter") -> list[str]:
    """A counter on every lane."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < LANES:
        found.setdefault(lane_of(f"{stream}-{number}", LANES), str(number))
        number += 1
    return list(found.values())


def are_decided(served: Served, command_ids: list[str]) -> bool:
    return served.stores.has_outcomes(command_ids)


def test_a_worker_cut_from_its_database_alone_gives_its_lanes_to_one_that_is_not(backends: Backends, tmp_path: Path) -> None:
    """It still has the broker, and would hold its lanes, and all that was accepted for them, for as long as it is cut off."""
    with Served(backends, tmp_path, Plan(COUNTER, gateways=1, workers=1, projectors=1)) as served:
        (gateway,) = served.gateways
        with Proxy("127.0.0.1", backends.postgres.port) as proxy:
            cut = served.room("workers", 1, database_port=proxy.port)
            cut.start()
            try:
                wait_until("both hold lanes", lambda: len(holders(served)) == 2, SECONDS_MAX, served.tails)
                proxy.refuse(True)
                proxy.cut_all()
                time.sleep(0.5)  # amid the term of its leases
                ids = [post(gateway, "Count", counter_id=counter) for counter in of_each_lane() for _ in range(3)]
                wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, lambda: served.tails() + cut.tail())
                assert cut.is_alive() and len(holders(served)) == 1
                proxy.refuse(False)
                wait_until("both hold lanes again", lambda: len(holders(served)) == 2, SECONDS_MAX, cut.tail)
                ids = [post(gateway, "Count", counter_id=counter) for counter in of_each_lane()]
                wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, cut.tail)
                assert served.stores.select("SELECT 1 FROM parked_commands") == []
            finally:
                cut.stop()


def test_a_worker_cut_from_the_broker_alone_gives_its_lanes_to_one_that_is_not(backends: Backends, tmp_path: Path) -> None:
    """It is alive, as far as the database can see, and would keep its share of the lanes, which nobody works on."""
    with Served(backends, tmp_path, Plan(COUNTER, gateways=1, workers=1, projectors=1)) as served:
        (gateway,) = served.gateways
        with Proxy("127.0.0.1", backends.rabbitmq.port) as proxy:
            cut = served.room("workers", 1, broker_port=proxy.port)
            cut.start()
            try:
                wait_until("both hold lanes", lambda: len(holders(served)) == 2, SECONDS_MAX, served.tails)
                proxy.refuse(True)
                proxy.cut_all()
                ids = [post(gateway, "Count", counter_id=counter) for counter in of_each_lane() for _ in range(3)]
                wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, lambda: served.tails() + cut.tail())
                assert cut.is_alive() and len(holders(served)) == 1
                proxy.refuse(False)
                wait_until("both hold lanes again", lambda: len(holders(served)) == 2, SECONDS_MAX, cut.tail)
                ids = [post(gateway, "Count", counter_id=counter) for counter in of_each_lane()]
                wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, cut.tail)
            finally:
                cut.stop()


def test_a_worker_that_does_not_know_an_inline_view_gives_its_lanes_to_one_that_does(backends: Backends, tmp_path: Path) -> None:
    """A rolling deploy: the view is made, and the worker of before may append nothing any more, but holds half of the lanes."""
    with Served(backends, tmp_path, Plan(TALLIES, gateways=1, workers=1, projectors=1)) as served:
        (gateway,) = served.gateways
        migrate, later = served.command("migrate"), served.room("workers", 1)
        for one in (migrate, later):
            one.environment["TALLIES_VERSION"] = "3"
        migrate.start()
        migrate.wait_done(SECONDS_MAX)
        later.start()
        try:
            wait_until("both hold lanes", lambda: len(holders(served)) == 2, SECONDS_MAX, served.tails)
            ids = [post(gateway, "Add", tally=tally) for tally in of_each_lane("tally") for _ in range(3)]
            wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, lambda: served.tails() + later.tail())
            assert served.stores.select("SELECT DISTINCT status FROM inbox") == [("succeeded",)]
        finally:
            later.stop()


def holders(served: Served) -> list[str]:
    """The workers that are alive and hold lanes."""
    rows = served.stores.select(
        "SELECT DISTINCT owner FROM leases JOIN members ON members.room = leases.room AND member = owner"
        " WHERE leases.room = 'workers' AND members.expires_at > now()"
    )
    return [owner for (owner,) in rows]


def test_two_versions_side_by_side_lose_and_park_nothing(backends: Backends, tmp_path: Path) -> None:
    """A rolling deploy: the next version's gateway sends what the worker of before does not know, and that one holds lanes."""
    with Served(backends, tmp_path, Plan(TALLIES, gateways=1, workers=1, projectors=1)) as served, ExitStack() as closing:
        (before,) = served.gateways
        for room in ("gateway", "workers"):
            later = served.room(room, 1)
            later.environment["TALLIES_VERSION"] = "2"
            closing.callback(later.stop)
            later.start()
            if room == "gateway":
                gateway = later
        gateway.wait_ready()
        wait_until("both hold lanes", lambda: len(holders(served)) == 2, SECONDS_MAX, served.tails)
        ids: list[str] = []
        for number in range(10):
            for tally in of_each_lane("tally"):
                ids += [
                    post(before, "Add", tally=tally, by=number),
                    post(gateway, "Add", tally=tally, note="later"),
                    post(gateway, "Clear", tally=tally),
                    post(before, "Add", tally=tally, by=number),
                ]
        wait_until("all decided", lambda: are_decided(served, ids), SECONDS_MAX, lambda: served.tails() + later.tail())
        assert served.stores.select("SELECT DISTINCT status FROM inbox") == [("succeeded",)]
        assert served.stores.select("SELECT 1 FROM parked_commands") == []
        totals = served.stores.select("SELECT data->>'total' FROM events ORDER BY stream, position")
        assert [int(total) for (total,) in totals] == expected_totals()


def expected_totals() -> list[int]:
    """Of every tally: each round adds its number, then one, clears, and adds its number again."""
    totals, total = [], 0
    for number in range(10):
        totals += [total + number, total + number + 1, 0, number]
        total = number
    return totals * LANES
