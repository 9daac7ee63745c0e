"""`pip install` leaves one importable package, whole, whichever way it comes; and nothing that lies about stands in for it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guards.house import FLOOR_OF
from tests.packaging.conftest import built_wheel
from tests.packaging.environment import Environment, new_environment
from tests.servers.server import free_port

ROOMS = [room for room in FLOOR_OF if room != "twofold"]
NOT_SHIPPED = ("monitoring/prometheus.yml", "monitoring/grafana/")
"""Configuration of other programs, for docker-compose.yml."""
WAIT_SECONDS_MAX = 60.0


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_one_package_with_every_file_of_every_room(clone: Path, wheel: Path) -> None:
    """Static pages, migrations, data, py.typed: whatever stands in a room's folder is there where it is installed."""
    names = names_in(wheel)
    assert {name.split("/")[0] for name in names} == {"twofold"}
    files = [path.relative_to(clone).as_posix() for room in FLOOR_OF for path in (clone / room).rglob("*") if path.is_file()]
    rooms = {f"twofold/{path}" if not path.startswith("twofold/") else path for path in files if not path.startswith(NOT_SHIPPED)}
    assert {name for name in rooms if "egg-info" not in name and "__pycache__" not in name} == names
    assert {"twofold/py.typed", "twofold/gateway/static/console.html", "twofold/eventstore/migrations/env.py"} <= names


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """It holds files where the repository holds links, and is unpacked on systems that have none."""
    with tarfile.open(sdist) as file:
        assert [member.name for member in file if member.issym()] == []
        below = {member.name.split("/")[1] for member in file if "/" in member.name}
        assert below & set(FLOOR_OF) == set()
    assert names_in(built_wheel(sdist, tmp_path)) == names_in(wheel)


def test_an_editable_install_exposes_one_package_and_type_checkers_find_it(clone: Path, tmp_path: Path) -> None:
    """It is one line in a .pth file, which mypy and editors read; they do not run an import hook."""
    environment = new_environment(tmp_path / "editable")
    environment.install("--editable", str(clone))
    (tmp_path / "domain.py").write_text((clone / "examples" / "counter.py").read_text())
    probe = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    found = environment.run(tmp_path, "python", "-P", "-c", probe, "twofold", "twofold.bus", *ROOMS)
    assert found.stdout.strip() == "['twofold', 'twofold.bus']", found.stderr
    checked = environment.run(tmp_path, "python", "-m", "mypy", "--strict", "--cache-dir", "cache", "domain.py")
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr


def test_the_images_steps_install_it(clone: Path, tmp_path: Path) -> None:
    """`COPY` keeps links as they are: what the Dockerfile copies is enough, and .dockerignore lets all of it through."""
    steps = (clone / "Dockerfile").read_text().split("\nFROM ")[1]
    copied = [line.split()[1:-1] for line in steps.splitlines() if line.startswith("COPY ")]
    let_through = (clone / ".dockerignore").read_text().split()
    build = tmp_path / "build"
    build.mkdir()
    for name in (name for names in copied for name in names):
        assert f"!{name}" in let_through
        subprocess.run(["cp", "-a", str(clone / name), str(build)], check=True)
    environment = new_environment(tmp_path / "opt")
    environment.install(str(build))
    shutil.rmtree(build)
    assert environment.run(tmp_path, "twofold", "version").returncode == 0


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A user's folder in which every name that the product could want to import is taken."""
    program = "import sys\nsys.exit('the folder stood in for the product: ' + __name__)\n"
    for name in (*ROOMS, "twofold", "msgspec", "aiohttp", "dramatiq", "structlog", "rich", "typer"):
        (tmp_path / f"{name}.py").write_text(program)
    for name in ("gateway", "kernel", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(program)
    return tmp_path


def test_the_folder_one_stands_in_never_shadows_the_product(installed: Environment, wheel: Path, hostile: Path) -> None:
    assert f"-{installed.run(hostile, 'twofold', 'version').stdout.strip()}-" in wheel.name
    with started(installed, hostile, "up", "--sample", port := free_port()) as said:
        wait_until(lambda: "2010-12-01" in get(port, "/views/sales_by_day"), said)
    assert "stood in" not in said.read_text()


def test_no_child_of_the_supervisor_is_shadowed_either(installed: Environment, hostile: Path) -> None:
    """Without servers each child says what is missing, which only the product knows."""
    with started(installed, hostile, "workers", "--processes=2", free_port()) as said:
        wait_until(lambda: said.read_text().count("TWOFOLD_DATABASE_URL is not set") >= 2, said)
    assert "stood in" not in said.read_text()


def test_a_shop_beside_the_user_is_asked_about_in_one_line(installed: Environment, hostile: Path) -> None:
    ended = installed.run(hostile, "twofold", "up", TWOFOLD_DOMAIN="shop")
    assert ended.returncode == 1
    assert re.fullmatch(r"twofold: TWOFOLD_DOMAIN=shop: .*name the former twofold\.shop.*\n", ended.stderr)


@contextmanager
def started(environment: Environment, folder: Path, command: str, option: str, port: int) -> Iterator[Path]:
    """`twofold COMMAND OPTION` until the block ends; gives the file in which its output is."""
    said = folder / "said.txt"
    variables = environment.variables(TWOFOLD_PORT=str(port))
    with said.open("wb") as output:
        program = [str(environment.programs / "twofold"), command, option]
        process = subprocess.Popen(program, cwd=folder, env=variables, stdout=output, stderr=output)
    try:
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS_MAX)


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def wait_until(claim: object, said: Path) -> None:
    assert callable(claim)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not claim():
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)
