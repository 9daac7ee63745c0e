"""A deployment that does not fit its log is refused wherever it starts, in one line. Rooms in this process, real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest

from tests.chaos.rooms import ROOT
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from twofold import rooms
from twofold.eventstore.identity import adopt
from twofold.eventstore.migrate import migrate as migrate_log
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Misconfigured
from twofold.settings import Settings
from twofold.wiring import migrate

SECONDS_MAX = 60.0


@pytest.fixture
def settings(postgres_url: str, broker_url: str, unique: str) -> Settings:
    """A migrated deployment of the counter."""
    settings = Settings(
        domain="examples.counter", database_url=postgres_url, broker_url=broker_url, namespace=unique, metrics_port=free_port()
    )
    migrate(settings)
    return settings


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [({"domain": "shop"}, "set TWOFOLD_DOMAIN="), ({"lanes": 5}, "`twofold lanes 5`")],
    ids=["another domain", "other lanes"],
)
def test_every_room_and_migrate_refuse_what_does_not_fit(settings: Settings, wrong: dict[str, object], fix: str) -> None:
    """TWOFOLD_DOMAIN forgotten: the shop made its tables in a hotel's database and parked its commands. TWOFOLD_LANES forgotten:
    six commands were accepted, and five decided by nobody."""
    other = msgspec.structs.replace(settings, **wrong)
    (variable,) = [f"TWOFOLD_{name.upper()}" for name in wrong]
    gateway = partial(rooms.run_gateway, reuse_port=False)
    starts: list[Callable[[Settings], None]] = [gateway, rooms.run_workers, rooms.run_readmodels, rooms.run_monitoring, migrate]
    for start in starts:
        with pytest.raises(Misconfigured, match=f"{variable}.*{fix}") as refused:
            start(other)
        assert "\n" not in str(refused.value)
    with psycopg.connect(libpq(settings.database_url)) as connection:
        views = connection.execute("SELECT DISTINCT view FROM read.generations").fetchall()
    assert views == [("counters",)]


def twofold(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twofold", *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )


def test_up_and_doctor_refuse_it_too(tmp_path: Path) -> None:
    """Embedded, the first start makes the log what it is; from then on another domain is told which setting to mend."""
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'log.db'}"
    migrate_log(url)
    adopt(url, load_domain("examples.counter"), 2)
    environment = {"TWOFOLD_DATA": str(tmp_path / "data"), "TWOFOLD_PORT": str(free_port())}
    up = twofold(environment, "up")
    assert up.returncode == 1
    assert up.stderr.startswith("twofold: TWOFOLD_DOMAIN") and "examples.counter" in up.stderr and up.stderr.count("\n") == 1
    assert not (tmp_path / "data" / "views.db").exists()
    doctor = twofold({**environment, "TWOFOLD_LANES": "3", "TWOFOLD_DOMAIN": "examples.counter", "COLUMNS": "300"}, "doctor")
    assert doctor.returncode == 1 and "`twofold lanes 3`" in doctor.stdout
