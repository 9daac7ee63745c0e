"""Views, as a domain declares them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from twofold.readmodels.schema.shape import shape_of
from twofold.shop.views.orders import ORDERS


def test_lists_do_where_tuples_are_asked_for() -> None:
    written = cast(Any, {"indexes": ["status"], "orders": ["total"], "compounds": [["status", "total"]], "on": list(ORDERS.on)})
    listed = replace(ORDERS, **written)
    assert (listed.indexes, listed.orders, listed.compounds) == (("status",), ("total",), (("status", "total"),))
    assert shape_of(listed) == shape_of(replace(ORDERS, indexes=("status",), orders=("total",), compounds=(("status", "total"),)))
