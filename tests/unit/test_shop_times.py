"""The times that commands may name: one moment, one text, and never one that a fold or a store cannot hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.unit.test_shop_order import PLACE
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Malformed
from twofold.shop.returns import RecordReturn
from twofold.shop.stock import AdjustStock

CODEC = Codec(load_domain("twofold.shop"))
LINE = {"sku": "A", "description": "a", "quantity": 1, "unit_price": 5}
RETURN: dict[str, Any] = {"return_id": "C1", "customer_id": "alice", "lines": [LINE], "country": "UK", "reason": ""}
ADJUST: dict[str, Any] = {"sku": "A", "quantity": 1, "reason": ""}
TIMED = [
    ("RecordReturn", RETURN, "returned_at"),
    ("AdjustStock", ADJUST, "adjusted_at"),
    ("PlaceOrder", msgspec.to_builtins(PLACE), "placed_at"),
]


@pytest.mark.parametrize(("name", "fields", "field"), TIMED)
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "1899-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "2010-12-01T09:00:00",
    ],
)
def test_a_time_out_of_bounds_is_refused_at_the_door(name: str, fields: dict[str, Any], field: str, text: str) -> None:
    """Inside, it would raise in every fold of its stream, and in every view, for ever."""
    with pytest.raises(Malformed):
        CODEC.command(name, msgspec.json.encode(fields | {field: text}))


@pytest.mark.parametrize(("name", "fields", "field"), TIMED)
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1900-01-01T00:00:00+14:00", datetime(1899, 12, 31, 10, tzinfo=UTC)),
        ("2999-12-31T23:59:59-12:00", datetime(3000, 1, 1, 11, 59, 59, tzinfo=UTC)),
        ("2010-12-01T10:00:00+01:00", datetime(2010, 12, 1, 9, tzinfo=UTC)),
    ],
)
def test_a_time_is_kept_in_utc(name: str, fields: dict[str, Any], field: str, text: str, moment: datetime) -> None:
    """The same moment in another zone is the same command, and the same day of sales."""
    kept = getattr(CODEC.command(name, msgspec.json.encode(fields | {field: text})), field)
    assert (kept, kept.tzinfo) == (moment, UTC)


@pytest.mark.parametrize("command", [RecordReturn, AdjustStock])
def test_a_command_may_leave_its_time_out(command: type) -> None:
    """Then it happened when it was recorded."""
    fields = RETURN if command is RecordReturn else ADJUST
    kept = CODEC.command(command.__name__, msgspec.json.encode(fields))
    assert {getattr(kept, name) for name in ("returned_at", "adjusted_at") if hasattr(kept, name)} == {None}
