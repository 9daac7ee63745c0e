"""Database addresses as people write them, and as SQLAlchemy wants them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from twofold.kernel.errors import Misconfigured

POSTGRES_DRIVER = "postgresql+psycopg"


def normalise_url(url: str, variable: str = "TWOFOLD_DATABASE_URL") -> str:
    """An SQLAlchemy URL: `postgres://` and `postgresql://` get the driver we carry.

    Raises Misconfigured, naming the setting `variable`, for what is no URL, and for other databases.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise Misconfigured(f"{variable}: not a URL; write postgresql://user:password@host:port/database") from error
    if parsed.drivername in ("postgres", "postgresql", POSTGRES_DRIVER):
        return parsed.set(drivername=POSTGRES_DRIVER).render_as_string(hide_password=False)
    if parsed.drivername == "sqlite" and parsed.database:
        return url
    raise Misconfigured(f"{variable}: nothing is kept in {parsed.drivername!r}; write postgresql://… or sqlite:///path")


def sqlite_path(url: str) -> Path | None:
    """The file that a normalised SQLite URL names; None for any other database."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database else None
