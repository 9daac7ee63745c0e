"""The real month, and months made up, through deciders and views in memory: no server, no store, every penny."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle import differences, expected
from twofold.kernel.codec import Codec, encode, encode_event
from twofold.kernel.domain import load_domain
from twofold.kernel.log import Meta, Recorded
from twofold.kernel.messages import tag_of
from twofold.kernel.view import About
from twofold.shop.online_retail import SAMPLE
from twofold.shop.online_retail.invoices import COLUMNS, read

DOMAIN = load_domain("twofold.shop")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


INVOICES = ["1001", "1002", "1003", "C1004", "C1005", "A1006"]
LINES = st.lists(
    st.tuples(
        st.sampled_from(INVOICES),
        st.sampled_from(["85123A", "85123a", "BANK CHARGES", "m"]),
        st.sampled_from(["", "RED, MUG", "damages", "£50.00"]),
        st.sampled_from(["-9600", "-1", "0", "1", "2", "4300"]),
        st.sampled_from(["2011-12-09T12:50:00", "2011-12-09T23:59:59", "2011-12-10T00:00:00"]),
        st.sampled_from(["0.0", "0.125", "2.55", "38970.00"]),
        st.sampled_from(["", "12346", "12347"]),
        st.sampled_from(["EIRE", "Channel Islands"]),
    ),
    min_size=8,
    max_size=30,
)


def decided(path: Path) -> list[Recorded]:
    """The log a file becomes: through JSON on both ways, as the house does it."""
    codec = Codec(DOMAIN)
    states: dict[str, Any] = {}
    recorded: list[Recorded] = []
    for keyed in read(path).commands:
        command = codec.command(tag_of(type(keyed.command)), encode(keyed.command))
        decider = DOMAIN.decider_of[tag_of(type(command))]
        stream = decider.stream_of(command)
        state = states.get(stream, decider.initial)
        for event in decider.decided(state, command, NOW):
            state = decider.evolve(state, event)
            tag, schema_version, data = encode_event(event)
            meta = Meta("id", "test", schema_version)
            recorded.append(Recorded(len(recorded) + 1, stream, 1, tag, data, meta, NOW))
        states[stream] = state
    return recorded


@pytest.fixture(scope="module")
def log() -> list[Recorded]:
    return decided(SAMPLE)


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


@settings(max_examples=80, deadline=None)
@given(LINES)
def test_any_month_of_such_lines_equals_a_computation_from_the_file(lines: list[tuple[str, ...]]) -> None:
    """Later months hold what this one does not: mixed invoices, scattered lines, bad debts, lines of zero pieces."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "month.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *lines])
        assert differences(expected(path), tables(decided(path))) == []
