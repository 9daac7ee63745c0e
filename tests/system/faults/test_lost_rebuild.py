"""A rebuild is under way when its log is restored from a backup: what it has folded never was, and it comes to an end."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.chaos.rooms import wait_until
from tests.guards.instance import Instance, running

SECONDS_MAX = 60.0
DOMAIN = ("--domain", "examples.counter")
PATH = "/views/counters/rebuild"


def post(instance: Instance, path: str, body: object) -> tuple[int, Any]:
    url, headers = f"http://127.0.0.1:{instance.port}{path}", {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=SECONDS_MAX
        ) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def count_to(instance: Instance, head: int, count: int) -> None:
    wishes = [{"type": "Count", "data": {"counter_id": f"c{number % 7}", "by": 1}} for number in range(count)]
    assert post(instance, "/commands", wishes)[0] == 202
    wait_until("decided", lambda: json.loads(instance.get("/lag"))["head"] == head, SECONDS_MAX)


def rebuild(instance: Instance) -> dict[str, Any]:
    return dict(json.loads(instance.get(PATH)))


def test_a_rebuild_that_has_folded_lost_events_fails_and_another_can_be_asked_for(tmp_path: Path) -> None:
    """It stood ahead of its log for ever, "building", and no other could be begun."""
    log = tmp_path / "data" / "log.db"
    with running(tmp_path, *DOMAIN) as instance:
        count_to(instance, 500, 500)
    shutil.copy(log, tmp_path / "backup.db")
    with running(tmp_path, *DOMAIN) as instance:
        for head in (1_500, 2_500, 3_500):
            count_to(instance, head, 1_000)
        assert post(instance, PATH, {"throttle": 1})[0] == 202
        wait_until("a page is folded", lambda: rebuild(instance)["position"] >= 1_000, SECONDS_MAX)
        assert rebuild(instance)["state"] == "building"
    for file in log.parent.glob("log.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", log)
    with running(tmp_path, *DOMAIN) as instance:
        wait_until("it is over", lambda: rebuild(instance)["state"] == "failed", SECONDS_MAX, instance.said.read_text)
        assert post(instance, PATH, {})[0] == 202
        wait_until("rebuilt", lambda: rebuild(instance)["state"] == "swapped", SECONDS_MAX, instance.said.read_text)

        def counted() -> int:
            return sum(row["count"] for row in json.loads(instance.get("/views/counters?limit=50"))["items"])

        wait_until("the gateway answers from the new rows", lambda: counted() == 500, SECONDS_MAX)
