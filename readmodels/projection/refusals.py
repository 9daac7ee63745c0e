"""What a store has against rows, told: which views', and which rows, as far as that can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from twofold.kernel.rows import Advance, Drain
from twofold.readmodels.projection.fold import Encode, is_refused

KEYS_TOLD_MAX = 10


def told(refusal: Exception, acts: Sequence[Advance | Drain], encode: Mapping[str, Encode]) -> Exception:
    """The refusal again. Keys are told of rows that no store could hold, or of the one row there was."""
    rows = [(act.slice.view, row) for act in acts for row in act.rows.values() if row is not None]
    refused = [(view, row) for view, row in rows if is_refused(row, encode[view])] or (rows if len(rows) == 1 else [])
    views = sorted({view for view, _ in refused or rows})
    keys = sorted({row.key for _, row in refused})[:KEYS_TOLD_MAX]
    structlog.get_logger().warning("the store refuses rows", error=type(refusal).__name__, views=views, keys=keys)
    return refusal
