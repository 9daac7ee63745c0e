"""`twofold dead`: letters that no worker may have again, listed, replayed and discarded, one of them or all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from twofold.client import Gateway, Refused
from twofold.terminal import gateway_here, show

ALL_LETTERS = "all"

app = typer.Typer(help="Dead letters: messages that no worker may have again.", no_args_is_help=True)

Letter = Annotated[str, typer.Argument(metavar="ID", help="As listed; or `all`, the oldest first.")]


@app.command("list")
def list_all() -> None:
    """Everything dead, and why."""
    from twofold.watch import show_dead

    show_dead(gateway_here().call("GET", "/dead"))


@app.command("replay")
def replay(letter: Letter) -> None:
    """Put its commands into their lanes again, behind what waits there."""
    each_letter(gateway_here(), letter, "replay", show)


@app.command("discard")
def discard(letter: Letter) -> None:
    """Give it up for good: its commands never take effect."""
    each_letter(gateway_here(), letter, "discard", show)


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
