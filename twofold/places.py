"""Where the databases are that a deployment's settings name, or leave to it."""

from __future__ import annotations

from pathlib import Path

from twofold.kernel.errors import Misconfigured
from twofold.settings import Settings


def log_url(settings: Settings) -> str:
    return settings.database_url or f"sqlite:///{folder_of(settings) / 'log.db'}"


def rows_url(settings: Settings) -> str:
    return settings.read_database_url or settings.database_url or f"sqlite:///{folder_of(settings) / 'views.db'}"


def folder_of(settings: Settings) -> Path:
    """The folder of the embedded databases, made if need be, for nobody but its owner. Raises Misconfigured."""
    folder = Path(settings.data)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"TWOFOLD_DATA={folder}: cannot be made ({error.strerror}); name a writable folder") from error
    return folder.resolve()
