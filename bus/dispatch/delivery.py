"""What travels from the lanes to `execute` and back: batches as they were published, merged into one delivery.

Neither ever shows a payload: Dramatiq writes the arguments of a message into its logs.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.kernel.envelope import Envelope


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """One message of a lane. `session` is the stay on the lane during which it came (settling it later means nothing any
    more), `token` what its transport settles it by, `size` its bytes."""

    lane: int
    envelopes: list[Envelope]
    size: int
    token: int
    session: object

    def __repr__(self) -> str:
        return f"Batch(lane={self.lane}, commands={len(self.envelopes)})"


class Delivery:
    """Batches of one or more lanes, in order within each, that are executed as one. Settled only when `is_committed`."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.is_committed = False

    @property
    def envelopes(self) -> list[Envelope]:
        return [envelope for batch in self.batches for envelope in batch.envelopes]

    @property
    def lanes(self) -> list[int]:
        """The lanes it is made of, each once."""
        return list(dict.fromkeys(batch.lane for batch in self.batches))

    def __repr__(self) -> str:
        return f"Delivery(lanes={self.lanes}, commands={sum(len(batch.envelopes) for batch in self.batches)})"
