"""What a request leaves behind: nothing that only a search of all memory finds, which holds up everybody and so is rare.

Where aiohttp finds no route, or not this method, it leaves an error and its request itself.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.system.gateway_rig import rig
from twofold.kernel.errors import Neighbour, Unavailable

TIMES = 5
ASKED: dict[str, tuple[str, str, Any, dict[str, str], int]] = {
    "a row": ("GET", "/views/tallies/red", None, {}, 404),
    "a row that is waited for": ("GET", "/views/tallies/red", None, {"Consistency_Token": "1000", "Prefer": "wait=0.1"}, 503),
    "a malformed question": ("GET", "/views/tallies?limit=no", None, {}, 400),
    "an unknown view": ("GET", "/views/nothing", None, {}, 404),
    "a malformed command": ("POST", "/commands/Count", {"tally_id": 1}, {}, 400),
    "a body that is too large": ("POST", "/commands/Count", {"tally_id": "x" * 2_000_000}, {}, 413),
    "another site": ("POST", "/commands/Count", {"tally_id": "a", "by": 1}, {"Sec_Fetch_Site": "cross-site"}, 403),
    "an accepted command": ("POST", "/commands/Count", {"tally_id": "a", "by": 1}, {}, 202),
    "a bulk": ("POST", "/commands", [{"type": "Count", "data": {"tally_id": "a"}}] * 3, {}, 202),
    "a page of the log": ("GET", "/events", None, {}, 200),
    "a stream that is not there": ("GET", "/streams/tally-none", None, {}, 404),
    "rows that are away": ("GET", "/views/tallies/red", None, {}, 503),
}


@contextmanager
def left_behind(found: Counter[str]) -> Iterator[None]:
    """What the collector would have to find, by type."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found.update(type(one).__name__ for one in gc.garbage if isinstance(one, web.BaseRequest | BaseException))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_an_answer_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: dict[str, Counter[str]] = {}
    async with rig(tmp_path) as running:

        async def ask(method: str, path: str, body: Any, headers: dict[str, str], status: int) -> None:
            answer = await running.call(method, path, body, **headers)
            assert answer.status == status, answer

        def away(*_: Any) -> Any:
            raise Unavailable(Neighbour.ROWS, "no connection")

        for name, asked in ASKED.items():
            if name == "rows that are away":
                monkeypatch.setattr(running.parts.views, "get", away)
            await ask(*asked)
            left[name] = Counter()
            with left_behind(left[name]):
                for _ in range(TIMES):
                    await ask(*asked)
    assert left == dict.fromkeys(ASKED, Counter())
