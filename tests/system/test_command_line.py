"""What the command line says and ends with, as somebody who types it sees it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guards.instance import Instance, running

DOMAIN = """
import time
from twofold import Command, Decider, Event, Rejected

class Strike(Command, frozen=True):
    anvil_id: str
    how: str = "well"

class Struck(Event, frozen=True):
    anvil_id: str

def decide(state: int, command: Strike) -> list[Struck]:
    if command.how == "not":
        raise Rejected("too-hot", degrees=900)
    if command.how == "wrongly":
        raise ValueError("it broke")
    if command.how == "slowly":
        time.sleep(3)
    return [Struck(command.anvil_id)]

DECIDERS = (Decider("anvil", "anvil_id", (Strike,), (Struck,), 0, decide, lambda state, event: state + 1),)
VIEWS = ()
"""


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("forge")
    (folder / "forge.py").write_text(DOMAIN)
    with running(folder, "--domain", "forge") as instance:
        yield instance


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [("well", 0, '"succeeded"'), ("wrongly", 1, '"parked"'), ("slowly", 3, '"accepted"')],
)
def test_send_ends_with_what_became_of_the_command(forge: Instance, how: str, status: int, said: str) -> None:
    sent = forge.run(f"""twofold send Strike '{{"anvil_id": "{how}", "how": "{how}"}}' --wait 2""")
    assert (sent.returncode, said in sent.stdout) == (status, True), sent


@pytest.mark.parametrize(("how", "status", "said"), [("well", 0, "succeeded"), ("wrongly", 1, "parked"), ("not", 1, "rejected")])
def test_outcome_shows_what_became_of_a_command(forge: Instance, how: str, status: int, said: str) -> None:
    """A rejection is an answer here, not an error: who retried a parked command sees that it is decided, and how."""
    sent = json.loads(forge.run(f"""twofold send Strike '{{"anvil_id": "o-{how}", "how": "{how}"}}'""").stdout)
    deadline = time.monotonic() + 10.0
    while (shown := forge.run(f"twofold outcome {sent['command_id']}")).returncode == 3 and time.monotonic() < deadline:
        assert json.loads(shown.stdout)["status"] == "pending"
    assert (shown.returncode, json.loads(shown.stdout)["status"], shown.stderr) == (status, said, "")


def test_an_id_that_nobody_gave_out_is_told(forge: Instance) -> None:
    shown = forge.run("twofold outcome nonsense")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "twofold: No command can have this id: ids are as /commands gave them out\n"


def test_a_rejection_says_what_http_says(forge: Instance) -> None:
    sent = forge.run("""twofold send Strike '{"anvil_id": "a", "how": "not"}' --wait 5""")
    assert sent.returncode == 1
    assert sent.stderr == 'twofold: The domain says no: too-hot {"degrees": 900}\n'


def test_what_is_wrong_with_a_command_is_said_with_its_place(forge: Instance) -> None:
    sent = forge.run("""twofold send Strike '{"anvil_id": 7}'""")
    assert (sent.returncode, sent.stderr.endswith(" at /anvil_id\n"), sent.stderr.count("\n")) == (1, True, 1), sent.stderr
    empty = forge.run("""twofold send Strike '{"anvil_id": ""}'""")
    assert empty.returncode == 1 and "the key must not be empty at /anvil_id" in empty.stderr


def test_the_embedded_process_stays_on_one_core(forge: Instance) -> None:
    """It has one interpreter lock; handing it from core to core costs a third (docs/decisions/0007)."""
    assert len(os.sched_getaffinity(forge.pid)) == 1


def test_a_taken_port_is_told_in_one_line(forge: Instance, tmp_path: Path) -> None:
    second = forge.run("twofold up", TWOFOLD_DATA=str(tmp_path / "other"), TWOFOLD_DOMAIN="forge")
    assert second.returncode == 1
    line = second.stderr.splitlines()[-1]
    assert line.startswith(f"twofold: TWOFOLD_PORT={forge.port}: somebody listens on 127.0.0.1:{forge.port} already")
    assert "Traceback" not in second.stderr and json.loads(forge.get("/livez")) == {"status": "ok"}
