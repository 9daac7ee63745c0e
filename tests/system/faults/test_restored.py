"""The log is restored from a backup while its views are not: what they show never was, and nobody is told otherwise."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.chaos.rooms import wait_until
from tests.guards.instance import Instance, running

SECONDS_MAX = 30.0
DOMAIN = ("--domain", "examples.counter")


def count(instance: Instance, by: int) -> dict[str, Any]:
    """The outcome."""
    body = json.dumps({"counter_id": "a", "by": by}).encode()
    headers = {"Content-Type": "application/json", "Prefer": "wait=10"}
    url = f"http://127.0.0.1:{instance.port}/commands/Count"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=SECONDS_MAX) as answer:
        outcome: dict[str, Any] = json.loads(answer.read())
    assert outcome["status"] == "succeeded", outcome
    return outcome


def row(instance: Instance, token: str) -> tuple[int, dict[str, Any]]:
    url = f"http://127.0.0.1:{instance.port}/views/counters/a"
    request = urllib.request.Request(url, headers={"Consistency-Token": token, "Prefer": "wait=5"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def state(instance: Instance) -> str:
    return str(json.loads(instance.get("/lag"))["views"]["counters"]["state"])


def test_views_of_a_restored_log_are_diverged_and_answer_no_token(tmp_path: Path) -> None:
    """It was `live`, with lag 0, while the new events were skipped, and a command's own writer was shown rows without it."""
    log = tmp_path / "data" / "log.db"
    with running(tmp_path, *DOMAIN) as instance:
        assert count(instance, 1)["version"] == 1
    shutil.copy(log, tmp_path / "backup.db")
    with running(tmp_path, *DOMAIN) as instance:
        for by in (2, 3, 4):
            last = count(instance, by)
        assert last["version"] == 4 and row(instance, last["command_id"]) == (200, {"counter_id": "a", "count": 10})
    for file in log.parent.glob("log.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", log)
    with running(tmp_path, *DOMAIN) as instance:
        assert state(instance) == "diverged"
        for by in (5, 6, 7, 8, 9):
            new = count(instance, by)
        assert (new["version"], new["position"]) == (6, 6)
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            assert state(instance) == "diverged"
            time.sleep(0.3)
        status, problem = row(instance, new["command_id"])
        assert (status, problem["state"]) == (503, "diverged")
        assert 'twofold_view_state{state="diverged",view="counters"} 1.0' in instance.get("/metrics")
        doctor = instance.run("twofold doctor", COLUMNS="300", TWOFOLD_DOMAIN="examples.counter")
        assert doctor.returncode == 1 and "twofold rebuild counters" in doctor.stdout
        assert instance.run("twofold rebuild counters").returncode == 0
        wait_until("the gateway answers from the new rows", lambda: state(instance) == "live", SECONDS_MAX)
        assert row(instance, new["command_id"]) == (200, {"counter_id": "a", "count": 1 + 5 + 6 + 7 + 8 + 9})
        assert instance.run("twofold doctor", TWOFOLD_DOMAIN="examples.counter").returncode == 0
