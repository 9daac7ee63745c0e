"""`./setup secrets`: what docker-compose.yml needs and the repository must not hold."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.guards.house import ROOT

SECONDS_MAX = 30.0
NAMES = {Path(secret["file"]).name for secret in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"].values()}
DOCKER = '#!/bin/sh\ncase "$*" in *"project=$TAKEN"*) echo of_another_clone ;; esac\n'
"""Knows volumes of one deployment alone."""


class Clone:
    """A folder with nothing in it but what is run, and Docker beside it."""

    def __init__(self, folder: Path, taken: str = "nobody") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "setup", folder)
        programs = folder.parent / f"{folder.name}-programs"
        programs.mkdir()
        (programs / "docker").write_text(DOCKER)
        (programs / "docker").chmod(0o755)
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TAKEN": taken}

    def setup(self, **environment: str) -> None:
        command = ["sh", "setup", "secrets"]
        subprocess.run(command, cwd=self.folder, env=self.environment | environment, timeout=SECONDS_MAX, check=True)

    def secrets(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / ".secrets").iterdir()}

    def deployment(self) -> str:
        found: list[str] = re.findall(r"^COMPOSE_PROJECT_NAME=(.*)$", (self.folder / ".env").read_text(), re.MULTILINE)
        assert len(found) == 1
        return found[0]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "twofold")


def test_every_secret_is_made_once_and_others_on_this_host_cannot_read_it(clone: Clone) -> None:
    clone.setup()
    made = clone.secrets()
    assert set(made) == NAMES | {"rabbitmq.conf"}
    assert len({made["postgres_password"], made["redis_password"], made["grafana_password"]}) == 3
    assert all(re.fullmatch(r"[0-9a-f]{48}", made[name]) for name in made if name.endswith("password"))
    assert stat.S_IMODE((clone.folder / ".secrets").stat().st_mode) == 0o700
    clone.setup()
    assert clone.secrets() == made


def test_a_secret_that_is_missing_is_made_to_fit_those_that_are_there(clone: Clone) -> None:
    """A version later needs one more; whoever has passwords in use must keep them."""
    clone.setup()
    made = clone.secrets()
    for name in sorted(made):
        (clone.folder / ".secrets" / name).unlink()
        clone.setup()
        again = clone.secrets()
        assert set(again) == set(made)
        assert {other: again[other] for other in made if other != name} == {other: made[other] for other in made if other != name}
        derived = name in ("database_url", "broker_url", "redis_url", "redis.conf")
        assert (again[name] == made[name]) == derived, name
        (clone.folder / ".secrets" / name).write_text(made[name])
    assert made["postgres_password"] in made["database_url"] and made["redis_password"] in made["redis.conf"]
    assert re.findall(r"[0-9a-f]{48}", made["rabbitmq.conf"]) == re.findall(r"[0-9a-f]{48}", made["broker_url"])


def test_two_at_once_agree(clone: Clone) -> None:
    command = ["sh", "setup", "secrets"]
    both = [subprocess.Popen(command, cwd=clone.folder, env=clone.environment) for _ in range(4)]
    assert [one.wait(SECONDS_MAX) for one in both] == [0] * 4
    made = clone.secrets()
    assert set(made) == NAMES | {"rabbitmq.conf"}
    assert made["postgres_password"] in made["database_url"] and made["redis_password"] in made["redis_url"]


def test_a_clone_is_the_deployment_its_folder_is_called_and_stays_so(clone: Clone, tmp_path: Path) -> None:
    clone.setup()
    assert clone.deployment() == "twofold"
    clone.setup(COMPOSE_PROJECT_NAME="another")
    assert clone.deployment() == "twofold"
    named = Clone(tmp_path / "-My Shop_2.0")
    named.setup()
    assert named.deployment() == "myshop_20"


def test_a_clone_whose_folders_name_has_volumes_already_is_another_deployment(tmp_path: Path) -> None:
    """Its passwords would not fit them, and if they did, both would write one log."""
    clone = Clone(tmp_path / "twofold", taken="twofold")
    clone.setup()
    assert re.fullmatch(r"twofold-[0-9a-f]{6}", clone.deployment())


def test_a_deployment_from_before_keeps_its_name_and_its_volumes(clone: Clone, tmp_path: Path) -> None:
    """The name stood in the file then, whatever the folder was called."""
    clone = Clone(tmp_path / "somewhere", taken="twofold")
    (clone.folder / ".secrets").mkdir()
    (clone.folder / ".secrets" / "postgres_password").write_text("as it was")
    clone.setup()
    assert clone.deployment() == "twofold"
    assert clone.secrets()["postgres_password"] == "as it was"


def test_who_names_his_deployment_is_heard(clone: Clone) -> None:
    (clone.folder / ".env").write_text("TWOFOLD_PORT=9000\n")
    clone.setup(COMPOSE_PROJECT_NAME="mine")
    assert clone.deployment() == "mine"
    assert "TWOFOLD_PORT=9000\n" in (clone.folder / ".env").read_text()
