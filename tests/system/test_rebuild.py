"""A view is rebuilt while clients write and read what they wrote. Whole processes, real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.chaos.rooms import wait_until
from tests.servers.namespace import clean
from tests.servers.server import free_port
from tests.system.test_changed_view import (
    EVENTS_BEFORE,
    SECONDS_MAX,
    WRITES_MIN,
    Deployed,
    call,
    deployed,  # noqa: F401
    is_ready,
)
from twofold.settings import Settings

PATH = "/views/tallies/rebuild"


def test_a_view_is_rebuilt_and_taken_back_under_load_and_nobody_notices(deployed: Deployed) -> None:  # noqa: F811
    """Nothing stale, nothing missing, nothing refused, also when the projector that builds is killed."""
    port = free_port()
    deployed.migrate("v2")
    deployed.start("workers", "v2")
    folding = deployed.start("readmodels", "v2")
    deployed.start("gateway", "v2", port)
    wait_until("it is ready", lambda: is_ready(port), SECONDS_MAX)
    for page in range(EVENTS_BEFORE // 1_000):
        wishes = [{"type": "Count", "data": {"tally_id": f"old-{page}-{number % 200}"}} for number in range(1_000)]
        assert call(port, "POST", "/commands", wishes)[0] == 202
    wait_until("the log", lambda: call(port, "GET", "/lag")[1]["head"] >= EVENTS_BEFORE, SECONDS_MAX)

    def rebuilt() -> dict[str, Any]:
        status, told = call(port, "GET", PATH)
        assert status == 200, told
        return dict(told)

    assert call(port, "GET", PATH)[0] == 404
    reading = [deployed.read_own_writes(key, port, port) for key in "ab"]
    assert call(port, "POST", PATH, {"throttle": 100}) == (202, {"view": "tallies", "generation": 2, "state": "building"})
    assert call(port, "POST", PATH)[0] == 409
    assert call(port, "DELETE", PATH) == (200, {"view": "tallies", "generation": 2, "state": "cancelled"})
    wait_until("it is gone", lambda: deployed.states() == {1: "live", 2: "dropped"}, SECONDS_MAX)

    assert call(port, "POST", PATH, {"throttle": 2_000})[1]["generation"] == 3
    wait_until("it is built", lambda: rebuilt()["position"] > 0, SECONDS_MAX, folding.tail)
    assert rebuilt()["state"] == "building" and rebuilt()["head"] >= EVENTS_BEFORE and rebuilt()["events_per_second"] > 0
    folding.kill()
    folding.start()
    wait_until("swapped", lambda: rebuilt()["state"] == "swapped", SECONDS_MAX, folding.tail)
    assert deployed.states() == {1: "retired", 2: "dropped", 3: "live"}

    status, back = call(port, "POST", f"{PATH}/rollback")
    assert (status, back["generation"]) == (202, 1)
    wait_until("taken back", lambda: deployed.states() == {1: "live", 2: "dropped", 3: "retired"}, SECONDS_MAX, folding.tail)
    reading.append(deployed.read_own_writes("c", port, port))
    deployed.stop.set()
    assert min(future.result(SECONDS_MAX) for future in reading) >= WRITES_MIN


@pytest.fixture
def in_redis(postgres_url: str, broker_url: str, redis_url: str, unique: str, tmp_path: Path) -> Iterator[Deployed]:
    settings = Settings(
        domain="tests.system.changing_domain",
        database_url=postgres_url,
        broker_url=broker_url,
        redis_url=redis_url,
        namespace=unique,
    )
    with ExitStack() as stack:
        stack.callback(clean, broker_url, redis_url, unique)
        deployed = Deployed(settings, tmp_path, stack)
        deployed.variables = {"KEPT_IN": "redis"}
        yield deployed


def test_rows_in_redis_are_rebuilt_taken_back_and_folded_again_when_they_are_lost_half_way(in_redis: Deployed) -> None:
    """Nothing stale, nothing refused: not when the projector that builds is killed, and not when Redis is emptied under it."""
    port = free_port()
    in_redis.migrate("v2")
    in_redis.start("workers", "v2")
    folding = in_redis.start("readmodels", "v2")
    in_redis.start("gateway", "v2", port)
    wait_until("it is ready", lambda: is_ready(port), SECONDS_MAX)
    wishes = [{"type": "Count", "data": {"tally_id": f"old-{number % 200}"}} for number in range(1_000)]
    for _ in range(3):
        assert call(port, "POST", "/commands", wishes)[0] == 202
    wait_until("the log", lambda: call(port, "GET", "/lag")[1]["head"] >= 3_000, SECONDS_MAX)

    def rebuilt(state: str, generation: int) -> bool:
        told = call(port, "GET", PATH)[1]
        return (told.get("state"), told.get("generation")) == (state, generation)

    reading = [in_redis.read_own_writes("a", port, port)]
    assert call(port, "POST", PATH, {"throttle": 500})[0] == 202
    wait_until("it is built", lambda: call(port, "GET", PATH)[1]["position"] > 0, SECONDS_MAX, folding.tail)
    assert rebuilt("building", 2)
    folding.kill()
    folding.start()
    wait_until("swapped", lambda: rebuilt("swapped", 2), SECONDS_MAX, folding.tail)
    assert call(port, "POST", f"{PATH}/rollback")[0] == 202
    wait_until("taken back", lambda: rebuilt("swapped", 1), SECONDS_MAX, folding.tail)

    assert call(port, "POST", PATH, {"throttle": 500})[0] == 202
    wait_until("it is built", lambda: call(port, "GET", PATH)[1]["position"] > 0, SECONDS_MAX, folding.tail)
    client = redis.Redis.from_url(in_redis.settings.redis_url)
    client.delete(*client.scan_iter(f"{{{in_redis.settings.namespace}:*"))
    client.close()
    reading.append(in_redis.read_own_writes("b", port, port))
    in_redis.stop.set()
    assert min(future.result(SECONDS_MAX) for future in reading) >= WRITES_MIN
    assert call(port, "POST", "/views/tallies/audit")[1] == {
        "checked": 202,
        "differences": [],
        "open": 0,
        "next": None,
        "parked": 0,
    }
    assert call(port, "POST", PATH)[0] == 202
    wait_until("rebuilt", lambda: call(port, "GET", PATH)[1].get("state") == "swapped", SECONDS_MAX, folding.tail)
