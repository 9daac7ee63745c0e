"""Submit, then ask: the answer has to show what was submitted, at full load, whichever gateway is asked.

Each asker adjusts products of its own, one after another, and asks for the row with the command id of the 202 as its token:
half of the time at another gateway than it posted to. Now and then it places an order and asks for that. A row that does
not hold the sum of everything accepted before is a stale answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.chaos.client import Load
from tests.chaos.record import Record

WAIT_SECONDS = 30
"""As long as a query may wait by the contract: what is asked here is whether an answer is right, not whether it is quick."""
ASKERS = 48
BACKGROUND_STREAMS = 16
LOAD_SECONDS_MAX = 1_800.0
NEW_ORDER_SHARE = 0.3


@dataclass
class Answers:
    """`stale` and `unanswered` hold one line each; `seconds` one entry for each right answer, from post to row."""

    right: int = 0
    stale: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def at_full_load(urls: Sequence[str], pairs: int, name: str, random: Random) -> Answers:
    """The same while others post on BACKGROUND_STREAMS streams as fast as they are answered."""
    load = Load(urls, Record(), f"{name}-load", random)
    loading = asyncio.create_task(load.run(LOAD_SECONDS_MAX, BACKGROUND_STREAMS, bulk_tellers=1))
    try:
        return await submit_then_query(urls, pairs, name, random)
    finally:
        load.end()
        await loading


async def submit_then_query(urls: Sequence[str], pairs: int, name: str, random: Random, askers: int = ASKERS) -> Answers:
    """`pairs` commands with one question each, from `askers` at a time."""
    answers = Answers()
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS * 2)
    unbounded = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=unbounded) as session, asyncio.TaskGroup() as group:
        for number in range(askers):
            share = pairs // askers + (number < pairs % askers)
            group.create_task(_ask(session, urls, share, f"{name}-{number}", Random(random.random()), answers))
    return answers


async def _ask(
    session: aiohttp.ClientSession, urls: Sequence[str], pairs: int, name: str, random: Random, answers: Answers
) -> None:
    adjusted = 0
    for number in range(1, pairs + 1):
        start = time.monotonic()
        post_url, query_url = random.choice(urls), random.choice(urls)
        if random.random() < NEW_ORDER_SHARE:
            view, key, wanted = "orders", f"{name}-{number}", {"units": number}
            token = await _post(session, f"{post_url}/commands/PlaceOrder", _order(key, number))
        else:
            adjusted += number
            view, key, wanted = "inventory", name, {"adjusted": adjusted}
            token = await _post(session, f"{post_url}/commands/AdjustStock", {"sku": name, "quantity": number, "reason": "count"})
        headers = {"Consistency-Token": token, "Prefer": f"wait={WAIT_SECONDS}"}
        async with session.get(f"{query_url}/views/{view}/{key}", headers=headers) as answer:
            row = json.loads(await answer.read())
            if answer.status == 503:
                answers.unanswered.append(f"{view}/{key}: {row}")
            elif answer.status != 200 or any(row.get(field_name) != value for field_name, value in wanted.items()):
                answers.stale.append(f"{view}/{key} after {token}: {answer.status} {row}, should have {wanted}"[:400])
            else:
                answers.right += 1
                answers.seconds.append(time.monotonic() - start)


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> str:
    async with session.post(url, json=body) as answer:
        text = await answer.text()
        assert answer.status == 202, f"{url}: {answer.status} {text}"
        return str(json.loads(text)["command_id"])


def _order(order_id: str, units: int) -> dict[str, Any]:
    address = {"name": "Ann", "line1": "1", "city": "Hull", "postcode": "HU1", "country": "Eire"}
    lines = [{"sku": f"of-{order_id}", "description": "thing", "quantity": units, "unit_price": 100}]
    return {"order_id": order_id, "customer_id": "ann", "lines": lines, "shipping_address": address, "fulfilment": "none"}
