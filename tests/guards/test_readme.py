"""What the README and the printed banner tell people to type works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.guards.blocks import FENCE, Block, blocks, shell_lines
from tests.guards.house import ROOT
from tests.guards.instance import LINE_SECONDS_MAX, Instance, running

SHELL = ("sh", "bash", "shell", "console")
FIRST_ORDERS_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """`make run`, as far as a reader sees it: the embedded system with the sample month flowing in."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    with running(folder, "--sample") as instance:
        yield instance


@pytest.fixture(scope="module")
def newcomer(sample: Instance) -> Instance:
    """The same for somebody who has cloned and made, and activated nothing: no `twofold` is on his path."""
    path = [entry for entry in sample.environment["PATH"].split(":") if not (Path(entry) / "twofold").exists()]
    assert shutil.which("twofold", path=":".join(path)) is None
    return replace(sample, environment=sample.environment | {"PATH": ":".join(path)})


def here(instance: Instance, text: str) -> str:
    return text.replace("localhost:8080", f"127.0.0.1:{instance.port}")


def answer_to(instance: Instance, line: str, **variables: str) -> dict[str, object]:
    """The JSON a line prints ({} when it prints none). Fails when the line fails or is answered with a problem."""
    ended = instance.run(here(instance, line), **variables)
    assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
    try:
        answer = json.loads(ended.stdout)
    except json.JSONDecodeError:
        return {}
    assert isinstance(answer, dict)
    assert not ("title" in answer and int(str(answer.get("status", 0))) >= 400), f"{line}\n{ended.stdout}"
    return answer


def test_the_readmes_shell_lines_work_as_written(newcomer: Instance, readme: str) -> None:
    """In order, by somebody who stands in his clone, each with the id of the last command sent as $COMMAND_ID. `make` lines must
    name a target."""
    variables: dict[str, str] = {}
    ran = 0
    for line in (line for block in blocks(readme) if block.language in SHELL for line in shell_lines(block)):
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif not line.startswith(".venv/bin/twofold up"):
            answer = answer_to(newcomer, line, **variables)
            if "command_id" in answer:
                variables["COMMAND_ID"] = str(answer["command_id"])
            ran += 1
    assert ran >= 3, "the README shows how to use it"


def test_the_banners_curl_lines_work_as_printed(sample: Instance) -> None:
    lines = [line.strip() for line in sample.said.read_text().splitlines() if line.strip().startswith("curl ")]
    assert len(lines) == 3
    deadline = time.monotonic() + FIRST_ORDERS_SECONDS_MAX
    while "2010-12-01" not in sample.get("/views/sales_by_day"):
        assert time.monotonic() < deadline, "no order became visible"
        time.sleep(0.2)
    for line in lines:
        assert answer_to(sample, line) != {}, line


def test_the_readme_names_no_command_that_would_not_be_found(readme: str) -> None:
    """What is shown to be typed begins with where it is, also where it is not run here."""
    shown = [line.strip() for block in blocks(readme) if block.language in (*SHELL, "text") for line in block.text.splitlines()]
    shown += re.findall(r"`([^`\n]+)`", FENCE.sub("", readme))
    assert [line for line in shown if line.startswith("twofold ")] == []
    assert sum(line.startswith(".venv/bin/twofold ") for line in shown) >= 10


def test_the_readmes_python_runs(tmp_path: Path, sample: Instance, readme: str) -> None:
    """A block with tests in it is run by pytest, one that asks a gateway with the sample's."""
    found = [block.text for block in blocks(readme) if block.language in ("python", "py")]
    assert found, "the README shows a domain"
    for number, text in enumerate(found):
        file = tmp_path / f"test_block_{number}.py"
        file.write_text(here(sample, text))
        runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"] if "def test_" in text else []
        command = [sys.executable, *runner, str(file)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LINE_SECONDS_MAX, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_domain_on_the_first_page_is_the_one_in_examples(readme: str) -> None:
    assert (ROOT / "examples" / "counter.py").read_text().strip() in readme


def test_the_readmes_links_lead_somewhere(readme: str) -> None:
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme) if "://" not in target}
    assert [target for target in sorted(targets) if target and not (ROOT / target).exists()] == []


def test_the_guard_reads_blocks_and_sees_a_line_that_fails(sample: Instance) -> None:
    page = "text\n```sh\n# a comment\n$ echo one   # said\nfalse \\\n  && true\n```\n```python\nx = 1\n```\n"
    assert blocks(page)[1] == Block("python", "x = 1\n")
    assert shell_lines(blocks(page)[0]) == ["echo one", "false    && true"]
    with pytest.raises(AssertionError):
        answer_to(sample, "false && true")
    with pytest.raises(AssertionError):
        answer_to(sample, "curl -s localhost:8080/views/no_such_view/1")
