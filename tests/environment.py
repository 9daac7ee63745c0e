"""Settings handed to processes that a test starts."""

from __future__ import annotations

from twofold.settings import Settings, variable


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that give a child process these very settings."""
    given = {variable(field): getattr(settings, field) for field in Settings.__struct_fields__}
    return {name: str(value) for name, value in given.items() if value is not None}
