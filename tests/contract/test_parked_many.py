"""Many parked keys cost what is asked about them, not what each of them holds: on Redis, by what it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.contract.viewstores import EVERYTHING
from twofold.kernel.rows import Advance, ParkedLine, Query
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.redis.store import RedisViewStore

KEYS = 50_000
ERROR = "x" * 2_000
BYTES_MAX = 100_000


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def store(client: Any, unique: str) -> Iterator[RedisViewStore]:
    yield RedisViewStore(client, unique)
    for name in client.scan_iter(f"{{{unique}:*"):
        client.unlink(name)


def sent(client: Any, ask: Callable[[], object]) -> int:
    """Bytes that the server sent meanwhile."""
    before = client.info("stats")["total_net_output_bytes"]
    ask()
    return int(client.info("stats")["total_net_output_bytes"] - before)


def park(store: RedisViewStore, slice_id: SliceId) -> None:
    for number in range(0, KEYS, 5_000):
        keys = [f"k{one:05}" for one in range(number, number + 5_000)]
        waiting = Advance(slice_id, number, number + 5_000, {}, {key: [number + 1] for key in keys}, dict.fromkeys(keys, ERROR))
        assert store.commit([waiting]) == {slice_id}


def test_what_is_asked_all_the_time_about_fifty_thousand_parked_keys_is_cheap(store: RedisViewStore, client: Any) -> None:
    """A projector looks whether a retry was asked for, a list query where the first line begins: neither needs to be told why."""
    [slice_id] = store.make(EVERYTHING, 1).slice_ids()
    park(store, slice_id)
    assert store.request_retry("everything", "k49999")
    asked: list[Callable[[], object]] = [
        lambda: store.parked_lines("everything", only_requested=True),
        lambda: store.find("everything", Query()),
        lambda: store.parked("everything", limit=10),
        lambda: store.parked("everything", "k00007"),
        store.parked_counts,
    ]
    assert max(sent(client, ask) for ask in asked) < BYTES_MAX
    assert store.parked_lines("everything", only_requested=True) == [ParkedLine(slice_id, "k49999", 45_001, "retry")]
    assert store.find("everything", Query()).parked == 1
    assert sent(client, lambda: store.parked_lines("everything")) < KEYS * 100


def test_an_index_that_another_release_did_not_keep_is_made_before_it_is_relied_on(store: RedisViewStore, client: Any) -> None:
    """In a rolling deploy both park keys; one that is overlooked would be answered as if nothing waited."""
    [slice_id] = store.make(EVERYTHING, 1).slice_ids()
    parked = Advance(slice_id, 0, 10, {}, waiting={"a": [3], "b": [5]}, errors={"a": "boom", "b": "bang"})
    assert store.commit([parked]) == {slice_id}
    assert store.discard("everything", "b")
    keyspace = store._keyspaces["everything"]
    expected = [ParkedLine(slice_id, "a", 3), ParkedLine(slice_id, "b", 5, "discard")]
    for look in (lambda: store.parked_lines("everything"), store.parked, store.positions):
        client.delete(keyspace.firsts, keyspace.asked)
        assert store.find("everything", Query()).parked is None
        look()
        assert store.find("everything", Query()).parked == 3
        assert store.parked_lines("everything") == expected
    client.delete(keyspace.firsts, keyspace.asked)
    assert store.parked_lines("everything", only_requested=True) == expected[1:]
