"""`twofold dead replay` and `discard`: one letter, or all of them, the oldest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twofold.client import Gateway, Refused

ALL_LETTERS = "all"


def each_letter(gateway: Gateway, letter: str, act: str, show: Callable[[Any], None]) -> None:
    """Of all letters those that were not asked for yet, as long as there are any: no more than some are listed at a time.

    Raises the last refusal, once the others have had their turn."""
    asked: set[str] = set()
    refused: Refused | None = None
    while left := [letter_id for letter_id in _listed(gateway, letter) if letter_id not in asked]:
        for letter_id in left:
            asked.add(letter_id)
            try:
                show({"id": letter_id} | gateway.call("POST", f"/dead/{quote(letter_id, safe='')}/{act}"))
            except Refused as refusal:
                refused = refusal
                if letter == ALL_LETTERS:
                    show({"id": letter_id, "status": "refused", "detail": str(refusal)})
    if refused is not None:
        raise refused


def _listed(gateway: Gateway, letter: str) -> list[str]:
    return [letter] if letter != ALL_LETTERS else [item["id"] for item in gateway.call("GET", "/dead")["items"]]
