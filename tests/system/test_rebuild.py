"""A view is rebuilt while clients write and read what they wrote. Whole processes, real servers."""

from __future__ import annotations

from typing import Any

from tests.chaos.rooms import wait_until
from tests.servers.server import free_port
from tests.system.test_changed_view import (
    EVENTS_BEFORE,
    SECONDS_MAX,
    WRITES_MIN,
    Deployed,
    call,
    deployed,  # noqa: F401
)

PATH = "/views/tallies/rebuild"


def test_a_view_is_rebuilt_and_taken_back_under_load_and_nobody_notices(deployed: Deployed) -> None:  # noqa: F811
    """Nothing stale, nothing missing, nothing refused, also when the projector that builds is killed."""
    port = free_port()
    deployed.migrate("v2")
    deployed.start("workers", "v2")
    folding = deployed.start("readmodels", "v2")
    deployed.start("gateway", "v2", port)
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
