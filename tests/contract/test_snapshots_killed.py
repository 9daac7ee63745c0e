"""A worker that is killed between commits leaves no snapshot that is not what the log says; what came before them goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from alembic import command

from tests.contract.diaries import NO, Written, domain, worker, written
from tests.contract.diary_child import opened
from tests.guards.house import ROOT
from twofold.eventstore.migrate import is_current, migrate
from twofold.kernel.codec import Codec

KILLS = 4
STREAM = "diary-a"


@pytest.fixture(params=["postgres", "sqlite"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def url(empty_url: str) -> str:
    migrate(empty_url)
    return empty_url


def test_a_killed_worker_leaves_events_and_snapshots_that_agree(url: str) -> None:
    """A snapshot ahead of its log, or of a batch that was never committed, would be believed by everybody after it."""
    for kill in range(KILLS):
        child = subprocess.Popen([sys.executable, "-m", "tests.contract.diary_child", url], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(3 + kill):
            assert child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
    log = opened(url)
    shape = Codec(domain()).states["diary"].shape
    words = [msgspec.json.decode(event.data, type=Written).word for event in log.stream(STREAM)]
    found = log.read({STREAM: None}, {STREAM: shape})
    there = found.snapshots[STREAM]
    assert len(words) >= KILLS * 9 and there.last.version + len(found.events.get(STREAM, ())) == len(words)
    assert msgspec.json.decode(there.state) == {"words": words[: there.last.version]}
    (refused,) = worker(log, snapshot_every=2).execute([written(NO)])
    assert refused.details == {"words": words}


def test_a_log_from_before_snapshots_is_brought_up_to_date(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its streams are folded from their beginning once more, and kept from then on."""
    url, upgrade = empty_url, command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0006"))
    migrate(url)
    monkeypatch.undo()
    assert not is_current(url)
    migrate(url)
    assert is_current(url)
    log = opened(url)
    worker(log, snapshot_every=0).execute([written(1, count=9)])
    (outcome,) = worker(log, snapshot_every=5).execute([written(2)])
    assert outcome.version == 10
    shape = Codec(domain()).states["diary"].shape
    assert log.read({STREAM: None}, {STREAM: shape}).snapshots[STREAM].last.version == 9
