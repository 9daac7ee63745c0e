"""A rebuild whose rows are not what a fresh fold of the log makes does not answer; what answered before goes on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.guards.instance import running

DRIFTING = """
import itertools
import msgspec
from examples.counter import COUNTER, Counted
from twofold import About, View

TIMES = itertools.count()

class Drift(msgspec.Struct, frozen=True):
    counter_id: str
    time: int

def show(row: Drift | None, event: Counted, about: About) -> Drift:
    return Drift(event.counter_id, next(TIMES))

DRIFTS = View[Drift, Counted]("drifts", "counter_id", Drift, (Counted,), lambda event, about: (event.counter_id,), show)
DECIDERS, VIEWS = (COUNTER,), (DRIFTS,)
"""


def test_rows_that_differ_from_the_log_never_answer(tmp_path: Path) -> None:
    (tmp_path / "drifting.py").write_text(DRIFTING)
    with running(tmp_path, "--domain", "drifting") as instance:
        assert instance.run("""twofold send Count '{"counter_id": "a"}' --wait 10""", TWOFOLD_DOMAIN="drifting").returncode == 0
        before = instance.get("/views/drifts/a")
        rebuilt = instance.run("twofold rebuild drifts", TWOFOLD_DOMAIN="drifting")
        assert rebuilt.returncode == 1, rebuilt.stderr
        told = json.loads(rebuilt.stdout)
        assert (told["generation"], told["state"]) == (2, "failed")
        [difference] = told["differences"]
        assert difference["key"] == "a" and difference["expected"] != difference["found"]
        assert instance.get("/views/drifts/a") == before
        again = instance.run("twofold rebuild drifts --rollback", TWOFOLD_DOMAIN="drifting")
        assert again.returncode == 1 and "nothing to go back from" in again.stderr
        dry = instance.run("twofold rebuild drifts --dry-run", TWOFOLD_DOMAIN="drifting")
        assert json.loads(dry.stdout)["events_to_fold"] == 1
        assert instance.run("twofold rebuild drifts --throttle fast", TWOFOLD_DOMAIN="drifting").returncode == 2
