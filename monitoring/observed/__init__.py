"""Ports that count, one file for each room that calls them. A wrapped port has the public attributes of the plain one, as they
were when it was wrapped, and in place of some of them what counts: no call takes a detour that it does not need.

Where it is known beforehand what there may be to count, its series are there from the start, at 0: Prometheus sees an increase
between two values, and a series that begins with its first burst hides that burst.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def replaced(port: Any, **replacements: Any) -> Any:
    """The port with these methods instead of its own."""
    names = [name for name in dir(port) if not name.startswith("_")]
    return SimpleNamespace(**{name: getattr(port, name) for name in names} | replacements)
