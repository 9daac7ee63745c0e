"""Clients as a deployment has them: behind a load balancer that sends them to gateways which say that they are ready.

Balancer: asks every gateway's /readyz, many times a second ──> `ready`, a list that Load and Askers choose from
Askers:   submit, then ask for the row with the command's token; a closed connection is tried again, a refusal is written down
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.chaos.record import Record, Sent

LOOK_SECONDS = 0.05
LOOK_SECONDS_MAX = 1.0
AGAIN_SECONDS = 0.02
WAIT_SECONDS = 30
NOTED_SHARE = 0.5
CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""A gateway that is stopped closes its connections: who had just sent something on one sends it again."""


class Balancer:
    """`urls` gives the gateways there are. `run` it as a task. `gaps` says when none of them was ready."""

    def __init__(self, urls: Callable[[], Sequence[str]]) -> None:
        self._urls = urls
        self.ready: list[str] = []
        self.gaps: list[str] = []

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=LOOK_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                urls = list(self._urls())
                answers = await asyncio.gather(*(_is_ready(session, url) for url in urls))
                ready = [url for url, is_ready in zip(urls, answers, strict=True) if is_ready]
                if ready:
                    self.ready[:] = ready
                elif self.ready:
                    self.gaps.append(f"none of {len(urls)} gateways was ready")
                await asyncio.sleep(LOOK_SECONDS)

    async def wait(self) -> None:
        """Until there is a gateway."""
        while not self.ready:
            await asyncio.sleep(LOOK_SECONDS)


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    return False


@dataclass
class Asked:
    """What askers were told. `stale` and `refused` hold one line each."""

    right: int = 0
    again: int = 0
    """Closed connections."""
    slowest_seconds: float = 0.0
    stale: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Askers:
    """Each counts up a till of its own and asks for its row. `is_later`: the clients of the next version, too, which send notes
    and ask for `balances`; none of those is under way any more when `earlier` returns."""

    def __init__(self, ready: Sequence[str], name: str, random: Random) -> None:
        self._ready, self._name, self._random = ready, name, random
        self.record = Record()
        self._totals: dict[str, int] = {}
        self._keys = 0
        self._later_count = 0
        self._is_ended = False
        self.is_later = False
        self.asked = Asked()

    def end(self) -> None:
        self._is_ended = True

    async def earlier(self) -> None:
        """Back to the words of the version before."""
        self.is_later = False
        while self._later_count:
            await asyncio.sleep(AGAIN_SECONDS)

    async def run(self, count: int) -> None:
        self._is_ended = False
        timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS * 2)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._ask(session, f"{self._name}-ask{number}"))

    async def _ask(self, session: aiohttp.ClientSession, till: str) -> None:
        while not self._is_ended:
            is_later = self.is_later
            self._later_count += is_later
            try:
                await self._submit_and_ask(session, till, is_later)
            finally:
                self._later_count -= is_later

    async def _submit_and_ask(self, session: aiohttp.ClientSession, till: str, is_later: bool) -> None:
        start = time.monotonic()
        self._keys += 1
        amount, key = self._keys, f"{self._name}-ask:{self._keys}"
        body: dict[str, Any] = {"till": till, "amount": amount}
        if is_later and self._random.random() < NOTED_SHARE:
            body["note"] = "for a rainy day"
        sent = self.record.tick()
        status, answer, url = await self._send(session, "POST", "/commands/Deposit", {"Idempotency-Key": key}, body)
        if status != 202:
            self.asked.refused.append(f"{url} {body}: {status} {answer}"[:400])
            return
        self.record.accept(Sent(answer["command_id"], f"till-{till}", url, sent, self.record.tick(), 1))
        self._totals[till] = self._totals.get(till, 0) + amount
        view, field_name = ("balances", "balance") if is_later and self._random.random() < NOTED_SHARE else ("tills", "total")
        headers = {"Consistency-Token": answer["command_id"], "Prefer": f"wait={WAIT_SECONDS}"}
        status, row, url = await self._send(session, "GET", f"/views/{view}/{till}", headers)
        wanted = self._totals[till]
        if status == 503:
            self.asked.refused.append(f"{url} {view}/{till}: {row}"[:400])
        elif status != 200 or row.get(field_name) != wanted:
            self.asked.stale.append(f"{url} {view}/{till}: {status} {row}, should have {wanted}"[:400])
        else:
            self.asked.right += 1
            self.asked.slowest_seconds = max(self.asked.slowest_seconds, time.monotonic() - start)

    async def _send(
        self, session: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], body: object = None
    ) -> tuple[int, dict[str, Any], str]:
        """Status, answer, and who gave it; sent again, elsewhere perhaps, when the connection is closed. Status 0: silence."""
        data = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            url = self._random.choice(self._ready)
            try:
                async with session.request(
                    method, url + path, data=data, headers={"Content-Type": "application/json", **headers}
                ) as answer:
                    return answer.status, json.loads(await answer.read()), url
            except CLOSED:
                self.asked.again += 1
                await asyncio.sleep(AGAIN_SECONDS)
            except (aiohttp.ClientError, TimeoutError) as error:
                return 0, {"error": repr(error)}, url
        return 0, {}, "nobody"
