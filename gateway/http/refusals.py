"""Every 503 can be found: counted by neighbour and reason, and logged; many alike within a second are one line with a count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from twofold.kernel.errors import Unavailable

LOG_SECONDS = 1.0
"""An outage refuses thousands a second; each neighbour and reason gets one line in this time."""

CountRefusal = Callable[[str, str], None]
"""Told the neighbour and the reason of every refusal."""


@dataclass(slots=True)
class _Unlogged:
    """What came since the last line; `detail` is the latest one's."""

    count: int
    detail: str
    timer: asyncio.TimerHandle


class Refusals:
    """Lives on the event loop. Neighbours and reasons stand in the code, so what is kept here is bounded."""

    def __init__(self, count_refusal: CountRefusal) -> None:
        self.is_closing = False
        self._count_refusal = count_refusal
        self._unlogged: dict[tuple[str, str], _Unlogged] = {}

    def note(self, cause: Unavailable) -> None:
        key = (cause.neighbour.value, cause.reason)
        self._count_refusal(*key)
        unlogged = self._unlogged.get(key)
        if unlogged is None:
            _log(key, cause.detail, 1)
            self._unlogged[key] = _Unlogged(0, "", self._later(key))
        else:
            unlogged.count += 1
            unlogged.detail = cause.detail

    def close(self) -> None:
        """Log what has not been yet."""
        for key, unlogged in self._unlogged.items():
            unlogged.timer.cancel()
            if unlogged.count:
                _log(key, unlogged.detail, unlogged.count)
        self._unlogged.clear()

    def _later(self, key: tuple[str, str]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(LOG_SECONDS, self._log_unlogged, key)

    def _log_unlogged(self, key: tuple[str, str]) -> None:
        unlogged = self._unlogged.pop(key)
        if unlogged.count:
            _log(key, unlogged.detail, unlogged.count)
            self._unlogged[key] = _Unlogged(0, "", self._later(key))


def _log(key: tuple[str, str], detail: str, count: int) -> None:
    neighbour, reason = key
    structlog.get_logger("gateway").warning("refused", neighbour=neighbour, reason=reason, detail=detail, count=count)
