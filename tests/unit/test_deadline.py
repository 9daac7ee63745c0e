"""A process that decides for ever is ended, wherever it spins."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SPINS = {
    "python": "while True: pass",
    "regular expression": "import re; re.match('(a+)+b', 'a' * 64)",
}
PROGRAM = """
import time
from twofold.deadline import ending_endless
began = time.monotonic()
with ending_endless(lambda: time.monotonic() - began if {is_deciding} else 0.0, seconds_max=0.4):
    {spin}
print("went on")
"""


def run(spin: str, is_deciding: bool) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(spin=spin, is_deciding=is_deciding)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("spin", SPINS.values(), ids=SPINS)
def test_deciding_without_end_ends_the_process_and_tells_where_it_was(spin: str) -> None:
    """Also in C code that lets no other thread run."""
    ended = run(spin, is_deciding=True)
    assert ended.returncode == 1 and "went on" not in ended.stdout
    assert "Timeout" in ended.stderr and "most recent call first" in ended.stderr


def test_a_process_that_waits_goes_on() -> None:
    """What waits for its neighbours decides nothing meanwhile."""
    ended = run("time.sleep(1.5)", is_deciding=False)
    assert (ended.returncode, ended.stdout) == (0, "went on\n")


EMBEDDED = """
import pathlib, sys, time
from twofold.deadline import replacing_endless
been_here = pathlib.Path(sys.argv[1])
if been_here.exists():
    print("began anew")
    sys.exit(3)
been_here.touch()
began = time.monotonic()
with replacing_endless(lambda: time.monotonic() - began, seconds_max=0.4):
    {spin}
"""


def test_embedded_the_process_begins_anew_where_it_stands(tmp_path: Path) -> None:
    """The same process, to whoever waits for it; and where nothing could begin anew it ends, and says where it was."""
    ended = {
        name: subprocess.run(
            [sys.executable, "-c", EMBEDDED.format(spin=spin), str(tmp_path / name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for name, spin in SPINS.items()
    }
    assert (ended["python"].returncode, ended["python"].stdout.endswith("began anew\n")) == (3, True)
    assert ended["regular expression"].returncode == -signal.SIGVTALRM
    assert "most recent call first" in ended["regular expression"].stderr
