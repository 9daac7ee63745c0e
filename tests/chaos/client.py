"""An honest client under load: on every stream it posts the next command when the last one's 202 is here, and records all of it.

stories ──> teller: one command a post ─┐
        └─> teller: bulk posts ─────────┴──> either gateway ──202──> Record
                                                  └─ 503, cut, silence: the same again, with the same idempotency key
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import aiohttp

from tests.chaos.record import Record, Sent
from tests.chaos.stories import STORIES, Step, Story, StoryTeller
from twofold.kernel.ids import command_id_for

REQUEST_SECONDS_MAX = 15.0
"""Longer than a gateway tries to reach its broker."""
RETRY_SECONDS = 0.1
RETRYING_SECONDS_MAX = 60.0
"""Longer than any server of a scenario needs to come back."""
SINGLE_STREAMS = 160
BULK_TELLERS = 4
BULK_STREAMS = 10
BULK_ITEMS = 40
REPLAY_ITEMS_MAX = 10
KEYLESS_SHARE = 0.1
"""Commands without an idempotency key: what cannot be asked again is never asked again, and its fate stays unknown."""
TRY_AGAIN = (429, 503)


class Posted(NamedTuple):
    """A command with its idempotency key, and the tick at which it was posted first."""

    command: Step
    key: str
    sent: int = -1


class Load:
    """Posts to `gateways` (base URLs). `name` is in every stream's name; `random` settles what is posted where."""

    def __init__(
        self, gateways: Sequence[str], record: Record, name: str, random: Random, stories: Sequence[StoryTeller] = STORIES
    ) -> None:
        self._gateways = gateways
        self._record = record
        self._name = name
        self._random = random
        self._stories = stories
        self._until = 0.0
        self._pause_seconds = 0.0
        self._keys = 0
        self.kept: dict[str, tuple[Step, str]] = {}
        """What a client keeps: accepted commands with their keys, by command id, in the order of their acceptance."""

    @property
    def accepted_count(self) -> int:
        return len(self._record.accepted)

    def end(self) -> None:
        """Post nothing new."""
        self._until = 0.0

    async def run(
        self,
        seconds: float,
        single_streams: int = SINGLE_STREAMS,
        bulk_tellers: int = BULK_TELLERS,
        pause_seconds: float = 0.0,
    ) -> None:
        """Post for so long, then see every command through to its 202, within RETRYING_SECONDS_MAX.

        `pause_seconds` is how long a teller rests between two posts.
        """
        self._pause_seconds = pause_seconds
        self._until = time.monotonic() + seconds
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        unbounded = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=unbounded) as session, asyncio.TaskGroup() as tellers:
            for number in range(single_streams):
                tellers.create_task(self._tell_singly(session, self._story(f"s{number}", number)))
            for number in range(bulk_tellers):
                stories = [self._story(f"b{number}-{index}", index) for index in range(BULK_STREAMS)]
                tellers.create_task(self._tell_in_bulk(session, stories))

    async def replay(self, commands: Sequence[tuple[Step, str]]) -> None:
        """Post these commands, with these keys, in order and in small bulks, and see every one through to its 202."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            left = [Posted(command, key) for command, key in commands]
            while left:
                size = self._random.randint(1, REPLAY_ITEMS_MAX)
                await self._see_through(session, left[:size])
                left = left[size:]

    def _story(self, name: str, number: int) -> Story:
        return self._stories[number % len(self._stories)](f"{self._name}-{name}", Random(self._random.random()))

    async def _tell_singly(self, session: aiohttp.ClientSession, story: Story) -> None:
        await asyncio.sleep(self._random.random() * 0.2)
        while time.monotonic() < self._until:
            await asyncio.sleep(self._pause_seconds)
            command = next(story)
            key = None if self._random.random() < KEYLESS_SHARE else self._key()
            sent = self._record.tick()
            for attempt, gateway in enumerate(self._tries(), start=1):
                headers = {} if key is None else {"Idempotency-Key": key}
                status, answer = await self._post(session, f"{gateway}/commands/{command.type}", command.data, headers)
                if status == 202:
                    self._accepted(command, key, answer["command_id"], gateway, sent, attempt)
                elif status in TRY_AGAIN or status == 0:
                    if key is not None:
                        await asyncio.sleep(RETRY_SECONDS * self._random.uniform(0.5, 1.5))
                        continue
                    self._record.unsure[command.stream] += 1
                else:
                    self._record.refused.append(f"{command.type} on {command.stream}: {status} {answer}"[:300])
                break
            else:
                self._record.unsure[command.stream] += 1

    async def _tell_in_bulk(self, session: aiohttp.ClientSession, stories: Sequence[Story]) -> None:
        while time.monotonic() < self._until:
            await asyncio.sleep(self._pause_seconds)
            await self._see_through(session, [Posted(next(self._random.choice(stories)), self._key()) for _ in range(BULK_ITEMS)])

    async def _see_through(self, session: aiohttp.ClientSession, left: Sequence[Posted]) -> None:
        """Post these in one bulk, and what was not accepted of it again, until nothing is left."""
        left = [posted._replace(sent=self._record.tick()) for posted in left]
        for attempt, gateway in enumerate(self._tries(), start=1):
            body = [{"type": one.command.type, "data": one.command.data, "idempotency_key": one.key} for one in left]
            status, answer = await self._post(session, f"{gateway}/commands", body, {})
            if status == 202:
                left = self._sort_out(left, answer, gateway, attempt)
            elif status not in TRY_AGAIN and status != 0:
                self._record.refused.append(f"bulk: {status} {answer}"[:300])
                return
            if not left:
                return
            await asyncio.sleep(RETRY_SECONDS)
        self._record.unsure.update(one.command.stream for one in left)

    def _sort_out(self, posted: Sequence[Posted], answer: dict[str, Any], gateway: str, attempt: int) -> list[Posted]:
        """Take in a bulk post's answer; what is left to be posted again.

        All of a bulk is posted at once, yet its items stand in an order. Untroubled, each counts as posted when the one
        before it was accepted (the order in which `sent` ticked); after any trouble, all that is known is when the 202 came.
        """
        is_untroubled = attempt == 1 and not answer["refused"]
        for item in answer["accepted"]:
            one = posted[item["index"]]
            self._accepted(
                one.command, one.key, item["command_id"], gateway, one.sent, attempt, one.sent if is_untroubled else None
            )
        left = []
        for item in answer["refused"]:
            problem, one = item["problem"], posted[item["index"]]
            if problem["status"] in TRY_AGAIN:
                self._record.retries[f"item {problem['status']}"] += 1
                left.append(one)
            else:
                self._record.refused.append(f"{one.command}: {problem}"[:300])
        return left

    async def _post(
        self, session: aiohttp.ClientSession, url: str, body: object, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer; status 0 when none came."""
        headers = {"Content-Type": "application/json", **headers}
        try:
            async with session.post(url, data=json.dumps(body).encode(), headers=headers) as answer:
                status, text = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._record.retries[type(error).__name__] += 1
            return 0, {}
        if status in TRY_AGAIN:
            self._record.retries[str(status)] += 1
        return status, json.loads(text) if text else {}

    def _accepted(
        self,
        command: Step,
        key: str | None,
        command_id: str,
        gateway: str,
        sent: int,
        attempts: int,
        accepted: int | None = None,
    ) -> None:
        if key is not None and command_id != command_id_for("anonymous", key):
            self._record.contradictions.append(f"{key}: {command_id}")
        if key is not None:
            self.kept.setdefault(command_id, (command, key))
        tick = self._record.tick() if accepted is None else accepted
        self._record.accept(Sent(command_id, command.stream, gateway, sent, tick, attempts))

    def _tries(self) -> Any:
        """Gateways to try, at random, until it has taken too long."""
        deadline = time.monotonic() + RETRYING_SECONDS_MAX
        while time.monotonic() < deadline:
            yield self._random.choice(self._gateways)

    def _key(self) -> str:
        self._keys += 1
        return f"{self._name}:{self._keys}"
