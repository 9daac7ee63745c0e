"""Built once a run: a clone, the distributions made from it, and an environment with the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.environment import Environment, copy_repository, new_environment, pip, succeed


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(clone, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    succeed([sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"], clone)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment into which the wheel was installed."""
    environment = new_environment(tmp_path_factory.mktemp("installed"))
    environment.install(str(wheel))
    return environment


def built_wheel(source: Path, folder: Path) -> Path:
    """Of a folder or a source distribution."""
    succeed(pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)), folder)
    (file,) = folder.glob("*.whl")
    return file
