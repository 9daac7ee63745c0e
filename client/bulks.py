"""Many commands: cut into arrays as large as a gateway takes, sent one after the other, each item answered in order.

    items ──> array ──> POST /commands ──> taken, refused ──────────────────> answers, in order
                 ^                └──────> put off ("later"), or cut ──┐
                 └──── the same keys, after a pause ───────────────────┘

Items that are put off are sent again alone, so those behind them in the same array may be in before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from twofold.client.answers import BulkBody, BulkResult, understood
from twofold.client.calls import Patience, answered
from twofold.client.refusals import LATER, Refused, refusal, retry_seconds
from twofold.client.said import Manner, named, new_key
from twofold.client.steps import Give, Heard, Steps
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.messages import Command

ITEMS_MAX = 1_000
BYTES_MAX = 4 * 1024 * 1024
PUT_OFF_SECONDS = 1.0
"""How long to wait for a lane that has enough to do, where it does not say."""

Item = Command | Mapping[str, Any]


class SentItem(NamedTuple):
    """One item, by its place among all of them."""

    place: int
    key: str
    text: bytes


def bulk(manner: Manner, items: Iterable[Item]) -> Steps[None]:
    for array in arrays(items):
        told: dict[int, BulkResult] = {line.place: _too_large(line) for line in array if len(line.text) > BYTES_MAX - 2}
        ended = yield from _send(manner, [line for line in array if line.place not in told], told)
        for line in array:
            yield Give(told[line.place])
        if ended is not None:
            raise ended


def arrays(items: Iterable[Item]) -> Iterator[list[SentItem]]:
    """Each no larger than a gateway takes. An item that alone is too large is an array of its own."""
    array: list[SentItem] = []
    size = 1
    for index, item in enumerate(items):
        line = line_of(index, item)
        if array and (len(array) == ITEMS_MAX or size + len(line.text) + 1 > BYTES_MAX):
            yield array
            array, size = [], 1
        array.append(line)
        size += len(line.text) + 1
    if array:
        yield array


def line_of(index: int, item: Item) -> SentItem:
    """Raises TypeError for what is neither a Command nor `{"type", "data"}`."""
    given: Mapping[str, Any] = {"type": item} if isinstance(item, Command) else item
    if not isinstance(given, Mapping) or not {"type"} <= given.keys() <= {"type", "data", "idempotency_key"}:
        raise TypeError(f'item {index} of a bulk is neither a Command nor {{"type": …, "data": …, "idempotency_key": …}}')
    tag, data = named(given["type"], given.get("data"))
    key = given.get("idempotency_key") or new_key()
    return SentItem(index, key, msgspec.json.encode({"type": tag, "data": msgspec.Raw(data), "idempotency_key": key}))


def _send(manner: Manner, lines: list[SentItem], told: dict[int, BulkResult]) -> Steps[Unavailable | None]:
    """Writes what became of each. What ended it, when nobody answered any more."""
    patience = Patience(manner.patience_seconds)
    while lines:
        ask = manner.ask("POST", "/commands", body=b"[" + b",".join([line.text for line in lines]) + b"]")
        try:
            heard: Heard = yield from answered(ask, manner.patience_seconds)
        except Unavailable as lost:
            told |= {line.place: BulkResult(line.place, line.key, refusal=lost) for line in lines}
            return lost
        answer = understood(ask, heard, BulkBody)
        for taken in answer.accepted:
            line = lines[taken.index]
            told[line.place] = BulkResult(line.place, line.key, taken.command_id)
        put_off: list[SentItem] = []
        for item in answer.refused:
            line, refused = lines[item.index], refusal(item.problem)
            told[line.place] = BulkResult(line.place, line.key, refusal=refused)
            if refused.status in LATER:
                put_off.append(line)
        if len(put_off) < len(lines):
            patience.restored()
        if put_off:
            seconds = retry_seconds(heard.headers) or PUT_OFF_SECONDS
            try:
                yield patience.after(
                    Unavailable(Neighbour.GATEWAY, "refuses for now", retry_after_seconds=seconds, is_overload=True)
                )
            except Unavailable:
                return None
        lines = put_off
    return None


def _too_large(line: SentItem) -> BulkResult:
    problem = {
        "type": "/problems/too-large",
        "title": "The body is too large",
        "status": 413,
        "detail": f"the command is larger than {BYTES_MAX} bytes",
    }
    return BulkResult(line.place, line.key, refusal=Refused(problem))
