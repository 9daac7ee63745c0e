"""How many rows there are: asked of a store of rows, never further than to a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from twofold.kernel.rows import PAGE_ROWS_MAX, Query, RowPage


class Counting(Protocol):
    """Asked of rows, too: how many there are."""

    def count(self, view: str, query: Query, most: int) -> int:
        """How many rows answer the question, `most` at most (from 1): no more are looked at. Raises as `find` does."""


def counted_by_pages(find: Callable[[str, Query], RowPage], view: str, query: Query, most: int) -> int:
    """The count, for a store that only finds: every row is read."""
    counted, cursor = 0, query.cursor
    while counted < most:
        page = find(view, msgspec.structs.replace(query, limit=min(PAGE_ROWS_MAX, most - counted), cursor=cursor))
        counted, cursor = counted + len(page.rows), page.next
        if cursor is None:
            break
    return counted
