"""How a room ends: whatever it opened is closed, also when what it did has failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from twofold import rooms
from twofold.settings import Settings


@pytest.mark.parametrize("error", [None, OSError("the port is taken")])
def test_a_gateway_takes_commands_from_before_it_serves_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Else what was put last would not be published, or its connection be cut while it is."""
    done: list[str] = []
    queue = SimpleNamespace(
        start=AsyncMock(side_effect=lambda: done.append("start")), close=AsyncMock(side_effect=lambda: done.append("close"))
    )

    async def serve(*_: Any, **__: Any) -> None:
        done.append("serve")
        if error is not None:
            raise error

    monkeypatch.setattr(rooms, "serve", serve)
    monkeypatch.setattr(rooms, "application", Mock())
    deployment: Any = SimpleNamespace(settings=Settings(), command_queue=queue)
    if error is None:
        rooms._serve(deployment, Mock(), reuse_port=False)
    else:
        with pytest.raises(OSError, match="taken"):
            rooms._serve(deployment, Mock(), reuse_port=False)
    assert done == ["start", "serve", "close"]
