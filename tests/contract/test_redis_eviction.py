"""What a Redis that evicts, or somebody with a prompt, may take away from a view while it is followed."""

from __future__ import annotations

import pytest
import redis

from tests.contract.projections import Bugs, Log, Said, domain, projector, reached, running, until, words
from twofold.kernel.rows import Query
from twofold.readmodels.stores.redis import RedisViewStore

NAMES = ("ann", "bob", "cid")
COUNT = 30


@pytest.mark.parametrize("part", ["rows", "checkpoints", "by:0", "by:1", "parked", "lines"])
def test_a_view_that_lost_a_part_is_folded_again(part: str, redis_url: str, unique: str) -> None:
    """Half a view would stay half, or count twice, for ever, and look well."""
    bugs = Bugs()
    codec, view, _ = domain(bugs, "redis")
    log = Log()
    for number in range(COUNT):
        log.append(Said((NAMES[number % 3],), f"w{number}"))
    bugs.words.add("poison")
    log.append(Said(("eve",), "poison"))
    with redis.Redis.from_url(redis_url) as client:
        store = RedisViewStore(client, unique)
        generation = store.make(view, 2)
        try:
            with running(projector(log, store, (view,), codec), generation.slice_ids()):
                until(reached(store, generation, COUNT + 1), "the head")
                assert client.delete(f"{{{unique}:heard}}:g1:{part}") == 1
                if part == "rows":
                    [found], page = store.get("heard", ["ann"]), store.find("heard", Query())
                    assert (found.row or found.position == 0) and (page.rows or page.position == 0), "not there at the head"
                log.append(Said(("ann",), "after"))
                until(reached(store, generation, COUNT + 2), "the head again")
                until(lambda: words(store, view, ["ann"])["ann"][-1:] == ("after",), "what came after")
            assert words(store, view, NAMES) == {
                name: (*(f"w{each}" for each in range(COUNT) if NAMES[each % 3] == name), *(("after",) if name == "ann" else ()))
                for name in NAMES
            }
            assert [row.key for row in store.find("heard", Query(order="count", descending=True)).rows] == ["ann", "cid", "bob"]
            assert [(one.key, one.waiting) for one in store.parked()] == [("eve", 1)]
        finally:
            client.delete(*client.scan_iter(f"{{{unique}:*"))
