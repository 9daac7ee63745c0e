"""Dead letters: messages that no worker may have again, kept until somebody says what is to become of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Protocol

import msgspec

LETTERS_MAX = 1_000
"""How many are shown at a time."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One message as it was put into its lane. `id` is made of its body: the same one, if it is there twice, is one letter."""

    id: str
    lane: str
    reason: str
    died_at: datetime | None
    body: bytes


class DeadLetters(Protocol):
    """What operators ask of them. May raise Unavailable."""

    def letters(self, limit: int = LETTERS_MAX) -> list[DeadLetter]:
        """At most so many, in the order in which they died."""

    def take_out(self, letter_id: str, use: Callable[[DeadLetter], None]) -> bool:
        """Hand this letter over, and remove it once `use` has returned. False when there is none; it stays if `use` raises."""


def letter_id(body: bytes) -> str:
    """16 hex digits."""
    return blake2b(body, digest_size=8).hexdigest()
