"""Which pieces of an order are not back yet, and which ones a return takes.

`left` is, line by line, how many pieces are with the customer. One product may stand on several lines at different
prices: a return takes the first of them first, and its fact names the line, so that no fold has to know this rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from twofold.shop.values import Id, Line, Quantity


class ReturnLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """So many pieces of a product that a command wants to give back."""

    sku: Id
    quantity: Quantity


class ReturnedLine(msgspec.Struct, frozen=True, gc=False):
    """So many pieces that came back. `line` is the number of the order's line, from 1, whose price they had."""

    line: int
    sku: str
    quantity: int
    unit_price: int


def by_sku(lines: Sequence[ReturnLine | ReturnedLine]) -> dict[str, int]:
    pieces: Counter[str] = Counter()
    for line in lines:
        pieces[line.sku] += line.quantity
    return dict(pieces)


def left_by_sku(lines: Sequence[Line], left: Sequence[int]) -> dict[str, int]:
    """Only products of which a piece is left."""
    pieces: Counter[str] = Counter()
    for line, quantity in zip(lines, left, strict=True):
        pieces[line.sku] += quantity
    return dict(+pieces)


def taken(lines: Sequence[Line], left: Sequence[int], wanted: Mapping[str, int]) -> Iterator[ReturnedLine]:
    """The pieces a return takes, in the order of the lines; `wanted` asks for no more than is left."""
    missing = dict(wanted)
    for number, (line, rest) in enumerate(zip(lines, left, strict=True), start=1):
        quantity = min(rest, missing.get(line.sku, 0))
        if quantity:
            missing[line.sku] -= quantity
            yield ReturnedLine(number, line.sku, quantity, line.unit_price)


def left_after(left: Sequence[int], returned: Sequence[ReturnedLine]) -> tuple[int, ...]:
    back = {line.line: line.quantity for line in returned}
    return tuple([rest - back.get(number, 0) for number, rest in enumerate(left, start=1)])
