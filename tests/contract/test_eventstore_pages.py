"""Pages of the log are bounded by bytes, too, on every implementation."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import msgspec
import pytest

import twofold.eventstore.postgres.pages
import twofold.eventstore.sqlite.pages
import twofold.testing.memory_log
from tests.contract.eventstores import place, placed
from twofold.kernel.ports import Log


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Log]:
    with place(request.param, request) as where:
        yield where.open()


def test_a_page_is_cut_where_its_events_are_too_many_bytes(store: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand events of a quarter of a megabyte are no page: whoever follows the log must live through them, and miss none."""
    for module in (twofold.eventstore.postgres.pages, twofold.eventstore.sqlite.pages, twofold.testing.memory_log):
        monkeypatch.setattr(module, "PAGE_BYTES_MAX", 100_000)
    heavy = b'"%s"' % secrets.token_hex(30_000).encode()
    decision = placed("order-1", 9, 9)
    events = [msgspec.structs.replace(event, type="A", data=heavy) for event in decision.events]
    store.append([msgspec.structs.replace(decision, events=tuple(events))])
    for types in (None, ["A"]):
        page = store.page(0, 50, types)
        assert (1 <= len(page.events) <= 5, page.is_cut, page.through) == (True, True, page.events[-1].position)
        positions: list[int] = []
        while found := store.page(positions[-1] if positions else 0, 50, types).events:
            positions += [event.position for event in found]
        assert positions == list(range(1, 10))
    assert not store.page(0, 1).is_cut
