"""A view is mended while nothing runs, and `twofold up` is typed again: what it says, and from when on the new rows answer."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.guards.instance import Instance, running

DOMAIN = """
import msgspec
from twofold import Command, Decider, Event, View

class Note(Command, frozen=True):
    note_id: str
    day: str

class Noted(Event, frozen=True):
    note_id: str
    day: str

class Day(msgspec.Struct, frozen=True):
    day: str
    notes: int = 0

NOTE = Decider("note", "note_id", (Note,), (Noted,), 0, lambda n, c: [Noted(c.note_id, c.day)], lambda n, e: n + 1)

def keys(event, about):
    return (event.day,)

def show(row, event, about):
    return Day(about.key, row.notes + 1 if row else 1)

DAYS = View("days", "day", Day, (Noted,), keys, show, sync="SYNC")
DECIDERS, VIEWS = (NOTE,), (DAYS,)
"""
TIMES = 2


def _noted(instance: Instance, day: str) -> None:
    for number in range(TIMES):
        sent = instance.run(f"""twofold send Note '{{"note_id": "{day}-{number}", "day": "{day}"}}' --wait 10""")
        assert sent.returncode == 0, sent


def test_an_inline_view_that_cannot_be_made_is_told_in_one_line_and_the_version_before_goes_on(tmp_path: Path) -> None:
    """It was a traceback of seventy lines that named neither view nor event."""
    inline = DOMAIN.replace("SYNC", "inline")
    (tmp_path / "days.py").write_text(inline)
    with running(tmp_path, "--domain", "days") as instance:
        _noted(instance, "monday")
        arguments = {"TWOFOLD_DOMAIN": "days"}
    changed = inline.replace('sync="inline"', 'sync="inline", orders=("notes",)')
    (tmp_path / "days.py").write_text(
        changed.replace("    return Day(", '    assert event.day != "monday", "not on mondays"\n    return Day(')
    )
    line = changed.split("    return Day(")[0].count("\n") + 1
    for command in ("up", "migrate"):
        refused = instance.run(f"twofold {command}", **arguments)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr, refused
        told = "twofold: the rows of inline view days cannot be made: event 1 (Noted, stream note-monday-0): "
        assert refused.stderr.splitlines()[-1].startswith(f"{told}AssertionError: not on mondays, days.py:{line}; "), refused
    (tmp_path / "days.py").write_text(inline)
    with running(tmp_path, "--domain", "days") as instance:
        _noted(instance, "tuesday")
        for day in ("monday", "tuesday"):
            assert json.loads(instance.get(f"/views/days/{day}")) == {"day": day, "notes": TIMES}


def test_who_is_ready_answers_from_the_new_rows(tmp_path: Path) -> None:
    """For a moment a gateway that had said that it was ready answered from the rows of before."""
    before = DOMAIN.replace("SYNC", "async")
    (tmp_path / "days.py").write_text(before)
    with running(tmp_path, "--domain", "days") as instance:
        _noted(instance, "monday")
    for revision in (1, 2):
        (tmp_path / "days.py").write_text(
            before.replace("(event.day,)", f'(event.day + "{revision}",)').replace('"async"', f'"async", revision={revision}')
        )
        with running(tmp_path, "--domain", "days") as instance:
            headers = {"Consistency-Token": str(TIMES), "Prefer": "wait=5"}
            asked = urllib.request.Request(f"http://127.0.0.1:{instance.port}/views/days/monday{revision}", headers=headers)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert json.load(answer) == {"day": f"monday{revision}", "notes": TIMES}
