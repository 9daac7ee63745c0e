"""The real month through deciders and views in memory: no server, no store, every penny."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kernel.codec import Codec, encode, encode_event
from kernel.domain import load_domain
from kernel.log import Meta, Recorded
from kernel.messages import tag_of
from kernel.view import About
from shop.online_retail import SAMPLE
from shop.online_retail.invoices import read
from tests.oracle import differences, expected

DOMAIN = load_domain("shop")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def log() -> list[Recorded]:
    """The month decided: through JSON on both ways, as the house does it."""
    codec = Codec(DOMAIN)
    states: dict[str, Any] = {}
    recorded: list[Recorded] = []
    for wish in read(SAMPLE).wishes:
        command = codec.command(tag_of(type(wish.command)), encode(wish.command))
        decider = DOMAIN.decider_of[tag_of(type(command))]
        stream = decider.stream_of(command)
        state = states.get(stream, decider.initial)
        for event in decider.decide(state, command):
            state = decider.evolve(state, event)
            tag, schema_version, data = encode_event(event)
            meta = Meta("id", "id", "id", "test", schema_version)
            recorded.append(Recorded(len(recorded) + 1, stream, 1, tag, data, meta, NOW))
        states[stream] = state
    return recorded


def tables(log: list[Recorded]) -> dict[str, dict[str, Any]]:
    """Every view's rows after this log, as JSON."""
    codec = Codec(DOMAIN)
    held: dict[str, dict[str, Any]] = defaultdict(dict)
    for entry in log:
        event = codec.event(entry)
        about = About(entry.position, entry.stream, entry.version, entry.recorded_at)
        for view in DOMAIN.views.values():
            if isinstance(event, view.on):
                rows = held[view.name]
                for key, part in view.parts(event, about).items():
                    rows[key] = view.evolve(rows.get(key), event, msgspec.structs.replace(about, key=key, part=part))
    as_json: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(held))
    return as_json


def test_every_view_of_the_month_equals_a_computation_from_the_file(log: list[Recorded]) -> None:
    """To the penny: days, countries, products, customers, stock and orders."""
    assert differences(expected(SAMPLE), tables(log)) == []


def test_the_month_leaves_the_same_rows_whichever_lane_was_faster(log: list[Recorded]) -> None:
    """Orders of one customer travel on several lanes: the order in which the log holds them is chance."""
    assert tables(log[::-1]) == tables(log)
