"""What every line of the command line begins and ends with: the settings here, the gateway they name, an answer shown."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import typer

from twofold.client import Gateway
from twofold.settings import Settings, read_settings, refuse_two_shops


def settings_here(**given: str | int | None) -> Settings:
    """The environment's settings, with what the command line says on top."""
    # A domain is a module beside where one stands; last, so that no file there stands in for what the product imports.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))] + [str(Path.cwd())]
    environment = dict(os.environ)
    environment.update({f"TWOFOLD_{name.upper()}": str(value) for name, value in given.items() if value is not None})
    settings = read_settings(environment)
    refuse_two_shops(settings, environment, Path.cwd())
    return settings


def gateway_here() -> Gateway:
    settings = settings_here()
    return Gateway(settings.host, settings.port)


def show(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
