"""What every line of the command line begins and ends with: the settings here, the gateway they name, an answer shown."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import typer

from twofold.client import Gateway
from twofold.kernel.errors import Error, Neighbour, Unavailable, WrongPassword
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
    return gateway_of(settings_here())


def gateway_of(settings: Settings) -> Gateway:
    """Whoever types wants to know at once: nothing is asked again. Longer than the longest wait a query may ask for (30 s)."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Gateway(f"http://{host}:{settings.port}", timeout_seconds=40.0, patience_seconds=0.0)


def show(value: Any) -> None:
    typer.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def escaped(ref: str) -> str:
    """The name of something parked, as a part of an address: it may be typed as it is listed, or as it reads."""
    return ref if quote(unquote(ref), safe="") == ref else quote(ref, safe="")


def said(error: Error) -> str:
    """One line, with what to do about it."""
    if not isinstance(error, Unavailable) or isinstance(error, WrongPassword):
        return str(error)
    is_alone = error.neighbour is Neighbour.GATEWAY and error.reason == "nobody listens"
    return f"not available: {error}{'; start one, or set TWOFOLD_HOST and TWOFOLD_PORT' if is_alone else ''}"
