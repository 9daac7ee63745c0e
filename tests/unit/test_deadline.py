"""A process that decides for ever is ended, wherever it spins."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twofold.deadline import RunningSeconds

SPINS = {
    "python": "while True: pass",
    "regular expression": "import re; re.match('(a+)+b', 'a' * 64)",
}
PROGRAM = """
import time
from twofold.deadline import ending_endless
began = time.monotonic()
with ending_endless(lambda: time.monotonic() - began if {is_deciding} else 0.0, seconds_max={seconds_max}):
    {spin}
print("went on")
"""


def run(spin: str, is_deciding: bool) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(spin=spin, is_deciding=is_deciding, seconds_max=0.4)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("spin", "status"), [("python", 1), ("regular expression", -signal.SIGVTALRM)])
def test_deciding_without_end_ends_the_process_and_tells_where_it_was(spin: str, status: int) -> None:
    """Also in C code that lets no other thread run."""
    ended = run(SPINS[spin], is_deciding=True)
    assert ended.returncode == status and "went on" not in ended.stdout
    assert "most recent call first" in ended.stderr


def test_a_process_that_was_stopped_while_it_decided_goes_on() -> None:
    """Its lanes are another's by then, which is no reason to end."""
    spin = "print('deciding', flush=True); time.sleep(0.5)"
    program = PROGRAM.format(spin=spin, is_deciding=True, seconds_max=4.0)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deciding\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(7.0)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "went on\n"), err


def test_only_the_seconds_in_which_the_process_could_run_count() -> None:
    """Looks: on time, after a standstill, after C code that let nothing else run, at the next command, after a stop in it."""
    at = computed = began = 0.0
    running = RunningSeconds(lambda: at - began, look_seconds=1.0, now=lambda: at, computed=lambda: computed)
    at, computed = 1.0, 0.5
    assert running.look() == 1.0
    at = 31.0
    assert running.look() == 3.0  # a look up to twice as late is no standstill
    at, computed = 41.0, 10.0
    assert running.look() == 13.0
    at, began = 42.0, 41.5
    assert running.look() == 0.5
    at, began = 72.0, 43.0
    assert running.look() == 1.0


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
