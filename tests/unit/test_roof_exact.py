"""What the roof says and concludes, without any server: addresses, the banner, growth, members, passwords, and what is folded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import structlog

import twofold.readmodels.stores.redis
import twofold.readmodels.stores.sql
from tests.unit.test_generation_watch import VIEW, build, rows_at, watching
from twofold import doctor, foldable, generation_watch, passwords, terminal
from twofold.banner import Banner
from twofold.foldable import FOLDED_ON_SECONDS, FoldableSlices
from twofold.generation_watch import GenerationWatch
from twofold.kernel.builds import Build
from twofold.kernel.errors import Malformed, Misconfigured, Neighbour, Unavailable, WrongPassword
from twofold.settings import Settings
from twofold.supervisor import RESTART_SECONDS, SETTLED_SECONDS, Supervisor
from twofold.terminal import escaped, gateway_of, said


@pytest.mark.parametrize(("host", "url"), [("::1", "http://[::1]:7"), ("a.b", "http://a.b:7")])
def test_whoever_types_is_told_at_once(host: str, url: str) -> None:
    gateway = gateway_of(Settings(host=host, port=7))
    assert (gateway.url, gateway._manner.timeout_seconds, gateway._manner.patience_seconds) == (url, 40.0, 0.0)


def test_settings_here_are_the_environments_with_what_was_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the folder one stands in is looked in last."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWOFOLD_PORT", "1234")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/lib"])
    assert terminal.settings_here(host="h", port=None).port == 1234
    assert sys.path == ["/lib", str(tmp_path)]
    found = terminal.settings_here(host="h", port=99)
    assert (found.host, found.port) == ("h", 99)
    assert terminal.gateway_here().url.endswith(":1234")


def test_what_is_parked_is_named_as_it_is_listed_or_as_it_reads() -> None:
    assert [escaped(ref) for ref in ("a%20b", "a b", "key-x-1", "a/b")] == ["a%20b", "a%20b", "key-x-1", "a%2Fb"]


def test_errors_are_said_in_a_line_with_what_to_do() -> None:
    fix = "; start one, or set TWOFOLD_HOST and TWOFOLD_PORT"
    alone = Unavailable(Neighbour.GATEWAY, "nobody listens")
    assert said(alone) == f"not available: {alone}{fix}"
    for other in (Unavailable(Neighbour.GATEWAY, "lost"), Unavailable(Neighbour.LOG, "nobody listens")):
        assert said(other) == f"not available: {other}"
    wrong = WrongPassword(Neighbour.LOG, "TWOFOLD_X")
    assert (said(wrong), said(Malformed("bad"))) == (str(wrong), "bad")


class Child:
    """A replay, and how it ends."""

    pid = os.getpid()

    def __init__(self, is_stubborn: bool = False, status: int | None = None) -> None:
        self.done: list[str] = []
        self._is_stubborn, self._status = is_stubborn, status

    def poll(self) -> int | None:
        return self._status

    def wait(self, seconds: float | None = None) -> None:
        self.done.append("wait")
        if self._is_stubborn and seconds is not None:
            raise subprocess.TimeoutExpired("x", seconds)

    def __getattr__(self, name: str) -> Any:
        return lambda: self.done.append(name)


def test_the_banner_says_where_to_look(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Banner(Settings(host="0.0.0.0", port=81), sample=False) as shown:
        shown.show()
        assert shown._replay is None
    told = capsys.readouterr().out
    assert "http://localhost:81/console" in told and "AdjustStock" in told and "Ctrl-C" in told
    with Banner(Settings(host="a.b", port=81, domain="mine"), sample=False) as shown:
        shown.show()
    told = capsys.readouterr().out
    assert "http://a.b:81/docs" in told and "AdjustStock" not in told
    started: list[Any] = []
    bound: list[Any] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: bound.append((pid, cores)), raising=False)
    for child, done in (
        (Child(), ["terminate", "wait"]),
        (Child(is_stubborn=True), ["terminate", "wait", "kill", "wait"]),
        (Child(status=0), []),
    ):

        def start(command: Any, child: Child = child, **more: Any) -> Child:
            started.append(command)
            return child

        monkeypatch.setattr(subprocess, "Popen", start)
        with Banner(Settings(port=81), sample=True) as shown:
            shown.show()
        assert child.done == done
    assert started[0][1:4] == ["-P", "-m", "twofold.shop.online_retail"] and started[0][-4:-1] == [
        "--url",
        "http://localhost:81",
        "--rate",
    ]
    assert [pid for pid, _ in bound] == [os.getpid()] * 3


def part(first: int, until: int, gigabytes: float = 1.0, **more: Any) -> Any:
    named = {
        "name": f"p{first}",
        "first": first,
        "until": until,
        "bytes": gigabytes * 2**30,
        "is_attached": True,
        "is_kept": False,
    }
    return SimpleNamespace(**(named | more))


def growth(
    monkeypatch: pytest.MonkeyPatch, *partitions: Any, head: int = 25, size: int = 10, detached: int = 0, keep: int = 0
) -> str:
    found = SimpleNamespace(partitions=partitions, size=size, head=head, detached_through=detached)
    monkeypatch.setattr(doctor, "growth_of", lambda url: found)
    return doctor._growth(SimpleNamespace(database_url="x", idempotency_positions=keep))  # type: ignore[arg-type]


def test_how_far_the_log_has_grown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part(1, 11), part(11, 21), part(21, 31), part(31, 41)]
    assert growth(monkeypatch, size=0).startswith("one table, head 25; `twofold partitions begin`")
    assert growth(monkeypatch, *parts) == "4 partitions of 10 positions, 4.0 GB, head 25"
    assert growth(monkeypatch, *parts, detached=5).endswith("head 25, detached through 5")
    assert growth(monkeypatch, *parts, keep=5).endswith(
        "; 2.0 GB lie behind the horizon: `twofold partitions detach --before 21`"
    )
    assert "1.0 GB lie" in growth(monkeypatch, *parts, keep=6) and "lie" not in growth(monkeypatch, *parts, keep=16)
    kept = [part(1, 11, is_kept=True), part(11, 21, is_attached=False), *parts[2:]]
    assert "lie" not in growth(monkeypatch, *kept, keep=1)
    for head in (31, 40):
        with pytest.raises(Misconfigured, match="p31 is the last partition, and in use"):
            growth(monkeypatch, *parts, head=head)
    assert "head 30" in growth(monkeypatch, *parts, head=30)


def test_files_and_members_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    assert doctor._embedded_growth(settings) == "nothing yet"
    for name, size in (("b.db", 2**20), ("a.db", 3 * 2**19), ("a.db.lock", 9), ("c.txt", 9)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert doctor._embedded_growth(settings) == "a.db 1.5 MB, b.db 1.0 MB"
    engine, members = Mock(), list[Any]()
    monkeypatch.setattr(doctor, "connect", lambda *given: engine)
    monkeypatch.setattr(doctor, "PostgresLeases", lambda given: SimpleNamespace(members=lambda: members))
    assert doctor._members(settings) == "none: no room is running"
    members += [SimpleNamespace(room=room, is_standby=standby) for room, standby in (("w", True), ("w", False), ("g", False))]
    assert doctor._members(settings) == "1 g, 2 w (1 standing by: more of them than there is to share)"
    assert engine.dispose.call_count == 2


def test_everybody_whom_a_room_needs_is_asked_for_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    fails: dict[str, Exception] = {}

    def asking(who: str) -> Any:
        def ask(url: str) -> None:
            asked.append(f"{who} {url}")
            if who in fails:
                raise fails[who]

        return ask

    monkeypatch.setattr(passwords, "_ask_broker", asking("broker"))
    monkeypatch.setattr(twofold.readmodels.stores.redis, "ask", asking("redis"))
    monkeypatch.setattr(twofold.readmodels.stores.sql, "ask", asking("sql"))
    settings: Any = SimpleNamespace(broker_url="b", redis_url="r", read_database_url="d", domain_module="twofold.shop")
    passwords.refuse_wrong_passwords(settings, "workers")
    assert asked == ["broker b"]
    asked.clear()
    passwords.refuse_wrong_passwords(settings, "gateway")
    assert {"broker b", "sql d"} <= set(asked)
    settings.redis_url = settings.read_database_url = ""
    asked.clear()
    passwords.refuse_wrong_passwords(settings, "gateway")
    assert asked == ["broker b"]
    fails["broker"] = Unavailable(Neighbour.BROKER)
    passwords.refuse_wrong_passwords(settings, "workers")
    fails["broker"] = WrongPassword(Neighbour.BROKER, "X")
    with pytest.raises(WrongPassword):
        passwords.refuse_wrong_passwords(settings, "workers")


def test_what_answers_is_needed_and_what_was_retired_is_not() -> None:
    rows = rows_at(1)
    step = watching(rows)
    assert step([build(1)]) == [build(1).generation] and rows.attach.mock_calls == []
    needed = step([build(1), build(2, "building")])
    assert [one.number for one in needed] == [1, 2]
    needed = step([build(1, "retired"), build(2)])
    assert [one.number for one in needed] == [2]
    other = step([build(3, shape="another")])
    assert [one.number for one in other] in ([3], [])
    assert step([]) == []


def test_a_look_that_fails_is_told_once_until_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_watch, "LOOK_SECONDS", 0.0)
    left: list[Exception | None] = [ValueError("a"), ValueError("b"), None, ValueError("c"), KeyError("d")]
    told = Mock()
    monkeypatch.setattr(structlog, "get_logger", lambda: told)
    watch = GenerationWatch(Mock(), [VIEW.name], lambda builds: [])

    def look() -> None:
        if not left:
            watch._stop.set()
            return
        if (error := left.pop(0)) is not None:
            raise error

    watch.look = look  # type: ignore[method-assign]
    watch._run()
    assert [call.kwargs["error"] for call in told.warning.mock_calls] == ["a", "c", "'d'"]


def test_two_builds_at_most_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that answers, the one beside it; and what answered until a moment ago, for a while."""
    slices = FoldableSlices(SimpleNamespace(projection=1, beside=2))  # type: ignore[arg-type]
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wanted(*own: Build) -> list[int]:
        return [one.generation.number for one in slices._wanted(own)]

    assert wanted(build(1), build(2, "building")) == [1, 2]
    assert wanted(build(1, "building"), build(2, "building")) == [2]
    assert wanted(build(1, "retired"), build(2, "retired")) == [2]
    assert wanted(build(1, "retired"), build(2)) == [2], "it was not folded here"
    slices._folded[0][VIEW.name] = build(1).generation
    assert wanted(build(1, "retired"), build(2)) == [2, 1]
    assert wanted(build(1, "retired"), build(2), build(3, "building")) == [2, 3]
    now[0] += FOLDED_ON_SECONDS - 0.5
    assert wanted(build(1, "retired"), build(2)) == [2, 1]
    now[0] += 1.0
    assert wanted(build(1, "retired"), build(2)) == [2]
    assert wanted(build(1), build(2, "retired")) == [1]
    assert wanted(build(1, "retired"), build(2)) == [2, 1], "it answered meanwhile"
    assert foldable.AWAY_SECONDS_MAX > 0


def test_a_child_that_dies_is_started_again_later_each_time() -> None:
    supervisor = Supervisor([], 1)
    dead: Any = SimpleNamespace(pid=1, returncode=1)
    supervisor._started[0] = 100.0
    assert [supervisor._is_due(0, dead, at) for at in (100.1, 100.49, 100.0 + RESTART_SECONDS)] == [False, False, True]
    supervisor._started[0] = 200.0
    assert [supervisor._is_due(0, dead, 200.0 + at) for at in (RESTART_SECONDS, 2 * RESTART_SECONDS)] == [False, True]
    supervisor._started[0] = 300.0
    assert supervisor._is_due(0, dead, 300.0 + SETTLED_SECONDS + 0.1), "it had started well"
    assert supervisor._start_at[0] == 300.0 + RESTART_SECONDS
