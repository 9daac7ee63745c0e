"""`make up` and `make down`, with a Docker that does what a test tells it to: what it is asked, and what becomes of failures."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.guards.house import ROOT

SECONDS_MAX = 60.0
DOCKER = """#!/bin/sh
echo "$*" >>"$ASKED"
case "$*" in
    *" up "*) [ -z "${UP_TAKES:-}" ] || exec sleep "$UP_TAKES"; exit "${UP_ENDS:-0}" ;;
    *" ps "*) printf "$STATES" ;;
    *" port gateway "*) [ -z "${SCALED:-}" ] && echo 127.0.0.1:8080 ;;
    *" port "*) echo 127.0.0.1:8088 ;;
    *" logs "*migrate*) echo "twofold: the password is wrong" ;;
    *" logs "*) echo "not asked for" ;;
esac
"""
FAILED = "migrate exited 1 \\nworkers created 0 \\npostgres running 0 healthy\\nprometheus running 0 \\ngateway created 0 \\n"


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "setup", "docker-compose.yml", "docker-compose.gateways.yml"):
            shutil.copy(ROOT / name, folder)
        programs = folder / "programs"
        programs.mkdir()
        (programs / "docker").write_text(DOCKER)
        (programs / "docker").chmod(0o755)
        self._asked = folder / "asked"
        self._environment = {"PATH": f"{programs}:{os.environ['PATH']}", "ASKED": str(self._asked), "STATES": ""}

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def asked(self, word: str) -> str:
        """The one line that asked Docker for this."""
        [line] = [line for line in self._asked.read_text().splitlines() if f" {word} " in f"{line} "]
        return line


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_up_makes_secrets_builds_once_waits_and_says_where_to_look(place: Place) -> None:
    done = place.make("up")
    assert done.returncode == 0, done.stderr
    assert (place.folder / ".secrets" / "database_url").exists()
    assert place.asked("build") == "compose build --quiet"
    assert place.asked("up") == "compose up --detach --wait --no-build --remove-orphans"
    assert "console http://127.0.0.1:8080/console" in done.stdout and "http://127.0.0.1:8080/docs" in done.stdout


def test_what_fails_ends_it_and_says_why(place: Place) -> None:
    """`migrate` that cannot succeed: its own words, not those of who waits for it."""
    done = place.make("up", UP_ENDS="1", STATES=FAILED)
    assert done.returncode != 0
    assert "migrate: exited" in done.stderr and "the password is wrong" in done.stderr
    assert "not asked for" not in done.stdout + done.stderr
    assert "console" not in done.stdout


def test_what_never_gets_healthy_ends_it_in_time(place: Place) -> None:
    start = time.monotonic()
    done = place.make("up", "UP_SECONDS=1", UP_TAKES="50", STATES="gateway running 0 starting\\n")
    assert done.returncode != 0 and time.monotonic() - start < 30
    assert "not healthy within 1 s" in done.stderr and "gateway: running starting" in done.stderr


def test_several_gateways_are_put_behind_the_proxy(place: Place) -> None:
    """An override file of the user's own is read as it is without."""
    (place.folder / "docker-compose.override.yml").touch()
    done = place.make("up", "SCALE=--scale workers=4 --scale gateway=3", SCALED="yes")
    assert done.returncode == 0, done.stderr
    files = "--file docker-compose.yml --file docker-compose.gateways.yml --file docker-compose.override.yml"
    assert place.asked("up").startswith(f"compose {files} up ") and place.asked("up").endswith(
        "--scale workers=4 --scale gateway=3"
    )
    assert "console http://127.0.0.1:8088/console" in done.stdout


def test_down_leaves_nothing_running_whatever_was_scaled(place: Place) -> None:
    assert place.make("down", "ARGS=-v").returncode == 0
    assert place.asked("down") == "compose down --remove-orphans -v"
