"""The embedded system killed in the middle of a replay of real orders, again and again, and at last compared to the penny.

Each round posts the next part of the sample month and kills `twofold up` at some moment of it; the client goes on when the
process is back. At the end, every view must hold what an independent computation from the file says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from tests import oracle
from tests.chaos.checker import Violation
from tests.chaos.client import Load
from tests.chaos.embedded import Embedded
from tests.chaos.record import Record
from tests.chaos.rooms import wait_until
from tests.chaos.rounds import SETTLE_SECONDS_MAX, Round
from tests.chaos.stories import Step
from twofold.kernel.domain import load_domain
from twofold.kernel.messages import tag_of
from twofold.shop.online_retail import SAMPLE
from twofold.shop.online_retail.invoices import read

TICK_SECONDS = 0.002
LATER_SECONDS_MAX = 0.03
"""A kill lands at any moment of a bulk post, not only between two of them."""
AGAIN_SHARE, START_SECONDS = 0.25, 1.5
"""How often it is killed a second time, and how long a start takes, somewhere in which that happens."""


def sample_wishes(limit: int | None = None) -> list[tuple[Step, str]]:
    """The sample month's commands with their idempotency keys, in the order of the file."""
    domain = load_domain("twofold.shop")
    commands = []
    for one in read(SAMPLE, limit).commands:
        command_type = tag_of(type(one.command))
        stream = domain.decider_of[command_type].stream_of(one.command)
        commands.append((Step(command_type, stream, msgspec.to_builtins(one.command)), one.key))
    return commands


def run_mid_replay(embedded: Embedded, commands: Sequence[tuple[Step, str]], name: str, random: Random) -> Round:
    """Post these, kill the system once meanwhile, and check what came of it."""
    record = Record()
    start = time.monotonic()
    load = Load([embedded.room.url], record, name, random)
    did, recovery_seconds = asyncio.run(_replay_and_kill(embedded, load, commands, random))
    seconds = time.monotonic() - start
    violations = []
    settle_seconds = SETTLE_SECONDS_MAX
    try:
        settle_seconds = wait_until("settled", lambda: embedded.checker.is_settled(record), SETTLE_SECONDS_MAX)
    except RuntimeError:
        violations.append(Violation("the system comes to rest", f"not within {SETTLE_SECONDS_MAX:.0f} s"))
    violations += embedded.checker.check(record)
    return Round(
        "kill-embedded",
        did,
        len(record.accepted),
        len(record.accepted) / seconds,
        record.retries.total(),
        settle_seconds,
        recovery_seconds,
        violations,
    )


def compare_with_the_file(embedded: Embedded, path: Path = SAMPLE) -> list[Violation]:
    """After the whole month: every view against the oracle, which shares no code with the shop."""
    wanted = oracle.expected(path)
    views = embedded.checker.domain.views
    actual = msgspec.json.decode(msgspec.json.encode({name: embedded.stores.rows(views[name], None) for name in wanted}))
    return [Violation("views equal the file", line) for line in oracle.differences(wanted, actual)]


async def _replay_and_kill(
    embedded: Embedded, load: Load, commands: Sequence[tuple[Step, str]], random: Random
) -> tuple[str, float]:
    """What was done, and the seconds from the kill until it answered again."""
    replaying = asyncio.create_task(load.replay(commands))
    try:
        kill_at = random.randrange(len(commands))
        while load.accepted_count < kill_at and not replaying.done():
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.sleep(random.uniform(0, LATER_SECONDS_MAX))
        accepted_count, killed_at = load.accepted_count, time.monotonic()
        embedded.room.kill()
        kills = 1
        if random.random() < AGAIN_SHARE:
            embedded.room.start()
            await asyncio.sleep(random.uniform(0, START_SECONDS))
            embedded.room.kill()
            kills = 2
        embedded.room.start()
        await asyncio.to_thread(embedded.room.wait_ready)
        recovery_seconds = time.monotonic() - killed_at
        await replaying
    finally:
        replaying.cancel()
    again = " and again while it started" if kills == 2 else ""
    return f"killed after {accepted_count} of {len(commands)} commands{again}", recovery_seconds
