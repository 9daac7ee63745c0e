"""Database addresses as people write them, and as SQLAlchemy wants them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from twofold.kernel.errors import Misconfigured

POSTGRES_DRIVER = "postgresql+psycopg"


def normalise_url(url: str) -> str:
    """An SQLAlchemy URL: `postgres://` and `postgresql://` get the driver we carry. Raises Misconfigured for other databases."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise Misconfigured("TWOFOLD_DATABASE_URL: not a URL; write postgresql://user:password@host:port/database") from error
    if parsed.drivername in ("postgres", "postgresql", POSTGRES_DRIVER):
        return parsed.set(drivername=POSTGRES_DRIVER).render_as_string(hide_password=False)
    if parsed.drivername == "sqlite" and parsed.database:
        return url
    raise Misconfigured(f"TWOFOLD_DATABASE_URL: no log on {parsed.drivername!r}; write postgresql://… or sqlite:///path")


def sqlite_path(url: str) -> Path | None:
    """The file that an SQLite URL names; None for any other database."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database else None
