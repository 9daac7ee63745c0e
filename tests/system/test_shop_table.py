"""The README's table of the shop: every command and view with the call that shows it, each call sent and its answer compared."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.guards.house import ROOT
from tests.guards.instance import running
from tests.servers.namespace import clean
from tests.servers.server import free_port
from tests.system.test_changed_view import call
from tests.system.test_upgrade import served
from twofold.kernel.domain import load_domain
from twofold.settings import Settings

ROW = re.compile(r"^\| [^|]+ \| `(GET|POST) (\S+?)(?: (\{.*\}))?` \| `([^`]+)` \|$", re.MULTILINE)
SECTION = "## The shop, whole\n"
WAIT = "wait=20"
PROCESSES_SECONDS_MAX = 20.0


class Told(NamedTuple):
    """A row of the table. `answer` is JSON, or a status with the problem's code or type."""

    method: str
    path: str
    body: dict[str, Any] | None
    answer: str


def table() -> list[Told]:
    section = (ROOT / "README.md").read_text().split(SECTION)[1].split("\n## ")[0]
    told = [Told(method, path, json.loads(body) if body else None, answer) for method, path, body, answer in ROW.findall(section)]
    assert len(told) == section.count("\n| ") - 1, "every line but the first is a call"
    return told


def holds(found: Any, told: Any) -> bool:
    """Whether what is told is part of what was found; of lists, all of it."""
    if isinstance(told, dict):
        return isinstance(found, dict) and all(name in found and holds(found[name], part) for name, part in told.items())
    if isinstance(told, list):
        return isinstance(found, list) and len(found) == len(told) and all(map(holds, found, told))
    return type(found) is type(told) and bool(found == told)


def answered(port: int, told: Told, headers: dict[str, str]) -> tuple[int, Any]:
    """The answer; to a question, once it is what is told, or what it is in the end."""
    deadline = time.monotonic() + PROCESSES_SECONDS_MAX
    while True:
        status, found = call(port, told.method, told.path, told.body, headers)
        if told.method == "POST" or (status == 200 and holds(found, json.loads(told.answer))) or time.monotonic() > deadline:
            return status, found
        time.sleep(0.1)


def test_the_table_names_every_command_and_every_view() -> None:
    """One that is added is added there."""
    domain, paths = load_domain("twofold.shop"), [told.path for told in table()]
    sent = {path.removeprefix("/commands/") for path in paths if path.startswith("/commands/")}
    asked = {re.split("[/?]", path)[2] for path in paths if path.startswith("/views/")}
    assert (sent, asked) == (set(domain.commands), set(domain.views))


@pytest.fixture(params=["embedded", "served"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """A shop in which nothing has happened."""
    if request.param == "embedded":
        with running(tmp_path) as instance:
            yield instance.port
        return
    urls = {name: request.getfixturevalue(name) for name in ("postgres_url", "broker_url", "redis_url", "unique")}
    settings = Settings(
        database_url=urls["postgres_url"],
        broker_url=urls["broker_url"],
        redis_url=urls["redis_url"],
        namespace=urls["unique"],
    )
    request.addfinalizer(lambda: clean(urls["broker_url"], urls["redis_url"], urls["unique"]))
    free = free_port()
    with served(settings, tmp_path, free):
        yield free


def test_every_call_of_the_table_is_answered_as_it_says(port: int) -> None:
    token = ""
    for told in table():
        headers = {"Prefer": WAIT} | ({"Consistency-Token": token} if told.path.startswith("/views/") else {})
        status, found = answered(port, told, headers)
        token = found.get("command_id", token)
        if told.answer.startswith("{"):
            assert status == 200 and holds(found, json.loads(told.answer)), f"{told}\n{found}"
        else:
            assert f"{status} {found.get('code') or found['type'].removeprefix('/problems/')}" == told.answer, f"{told}\n{found}"


def test_a_part_is_told_from_what_is_not() -> None:
    assert holds({"a": [{"b": 1, "c": 2}], "d": 3}, {"a": [{"b": 1}]})
    assert not holds({"a": [{"b": 1}, {}]}, {"a": [{"b": 1}]})
    assert not holds({"a": 1}, {"a": True}) and not holds({"a": 1}, {"b": 1})
