"""What the console is told of the lanes: how much waits there, or nothing while the broker is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from twofold.gateway.operations.console import RECENT_EVENTS, ConsoleData
from twofold.kernel.errors import Neighbour, Unavailable

AWAY = Unavailable(Neighbour.BROKER, "no connection")


@pytest.mark.parametrize(("depths", "told"), [({0: 3}, {0: 3}), (AWAY, None)])
@pytest.mark.parametrize("head", [0, 7, RECENT_EVENTS + 5])
def test_lanes_are_unknown_while_the_broker_is_away_and_the_rest_still_moves(depths: Any, told: Any, head: int) -> None:
    history, lanes = Mock(), Mock()
    lanes.depths.side_effect = [depths]
    console: Any = SimpleNamespace(_history=history, _lanes=lanes)
    assert ConsoleData._read(console, head) == (history.page.return_value.events, told)
    history.page.assert_called_once_with(max(0, head - RECENT_EVENTS), RECENT_EVENTS)
