"""The metrics are the contract's: every one it names, with its labels, and no label whose values could grow without bound."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.guards.house import ROOT
from tests.guards.instance import Instance, running

CONTRACT = {
    "twofold_commands_accepted": {"command"},
    "twofold_commands_decided": {"command", "outcome"},
    "twofold_command_seconds": {"stage"},
    "twofold_batch_commands": set(),
    "twofold_append_conflicts": set(),
    "twofold_events_appended": {"type"},
    "twofold_log_head": set(),
    "twofold_lane_depth": {"lane"},
    "twofold_view_position": {"view"},
    "twofold_view_lag_events": {"view"},
    "twofold_view_lag_seconds": {"view"},
    "twofold_view_visibility_seconds": {"view"},
    "twofold_view_events": {"view"},
    "twofold_view_parked_keys": {"view"},
    "twofold_rebuild_position": {"view"},
    "twofold_view_state": {"view", "state"},
    "twofold_dead_messages": set(),
    "twofold_undecided_seconds": set(),
    "twofold_queue_seconds": {"lane"},
    "twofold_queries": {"view", "status"},
    "twofold_query_seconds": {"view"},
    "twofold_process_instances": {"process", "state"},
    "twofold_timers_due_seconds": set(),
    "twofold_members": {"room", "version", "standby"},
    "twofold_refusals": {"neighbour", "reason"},
}
"""Family names: counters end in `_total` where they are scraped."""
BEYOND = {
    "twofold_facts_up": set[str](),
    "twofold_parked_commands": set[str](),
    "twofold_commands_unknown_seconds": set[str](),
    "twofold_effect_calls": {"effect", "outcome"},
    "twofold_effect_breaker_open": {"effect"},
}
"""Ours, beyond the contract."""
KINDS = {"twofold_view_visibility_seconds": "histogram"}
DEPTH_SECONDS_MAX = 10


FIRST_PANELS = {
    "twofold_commands_accepted_total": {"AdjustStock"},
    "twofold_commands_decided_total": {"AdjustStock"},
    "twofold_events_appended_total": {"StockAdjusted"},
    "twofold_view_events_total": {"inventory", "orders"},
    "twofold_view_visibility_seconds_bucket": {"inventory", "orders"},
    "twofold_query_seconds_bucket": {"inventory", "orders"},
    "twofold_command_seconds_bucket": {"queue", "decide", "total"},
}
"""What dashboards take rates of, with some values that a label of it has."""


@pytest.fixture(scope="module")
def scrapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """/metrics before anything happened, and after one command was decided, shown and asked for."""
    with running(tmp_path_factory.mktemp("metrics")) as instance:
        before = instance.get("/metrics")
        sent = instance.run("""twofold send AdjustStock '{"sku": "A", "quantity": 1, "reason": "found"}' --wait 10""")
        assert sent.returncode == 0, sent.stderr
        shown = instance.run(f"twofold get inventory A --after {json.loads(sent.stdout)['command_id']}")
        assert shown.returncode == 0, shown.stderr
        yield before, wait_for_lanes(instance)


@pytest.fixture(scope="module")
def scraped(scrapes: tuple[str, str]) -> str:
    return scrapes[1]


def wait_for_lanes(instance: Instance) -> str:
    """The scrape once a lane's depth is known, which may be read a moment late."""
    deadline = time.monotonic() + DEPTH_SECONDS_MAX
    while "twofold_lane_depth{" not in (text := instance.get("/metrics")):
        assert time.monotonic() < deadline, "no lane has a depth"
        time.sleep(0.2)
    return text


def labels_of(text: str) -> dict[str, set[str]]:
    """Family to label names, of our families that have a sample. `_created` times come with every counter of the client."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name.startswith("twofold_") and not family.name.endswith("_created"):
                found.setdefault(family.name, set()).update(set(sample.labels) - {"le"})
    return found


def test_every_metric_of_the_contract_is_there_with_its_labels_and_no_other(scraped: str) -> None:
    assert labels_of(scraped) == CONTRACT | BEYOND


def test_what_is_counted_is_there_before_it_happens(scrapes: tuple[str, str]) -> None:
    """A rate is taken between two values: a series that begins with its first burst does not show it."""
    families = list(text_string_to_metric_families(scrapes[0]))
    samples = [sample for family in families for sample in family.samples if sample.name in FIRST_PANELS]
    found: dict[str, set[str]] = {}
    for sample in samples:
        found.setdefault(sample.name, set()).update(sample.labels.values())
    assert {name: values - found.get(name, set()) for name, values in FIRST_PANELS.items()} == dict.fromkeys(FIRST_PANELS, set())
    assert {sample.value for sample in samples} == {0.0}


def test_every_stage_of_a_command_is_timed(scraped: str) -> None:
    counted = {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name == "twofold_command_seconds_count"
    }
    assert counted == {"queue": 1, "decide": 1, "total": 1}


def test_one_command_is_counted_once_at_each_of_its_stations(scraped: str) -> None:
    counters = ("twofold_commands_accepted_total", "twofold_commands_decided_total", "twofold_events_appended_total")
    counted = {
        sample.name: sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name in counters and sample.value
    }
    assert counted == dict.fromkeys(counters, 1)


def test_durations_are_histograms_and_have_units_in_their_names(scraped: str) -> None:
    for family in text_string_to_metric_families(scraped):
        if family.name in KINDS:
            assert family.type == KINDS[family.name]
        if family.name.startswith("twofold_") and family.type == "histogram":
            assert family.name.endswith(("_seconds", "_commands")), family.name


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    panels = json.loads((Path(ROOT) / "monitoring/grafana/dashboards/twofold.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names = [word for expression in asked for word in expression.replace("(", " ").replace("{", " ").replace("[", " ").split()]
    families = {name.removesuffix("_total").removesuffix("_bucket") for name in names if name.startswith("twofold_")}
    assert families and {family.rstrip(")") for family in families} <= set(CONTRACT | BEYOND)


def test_the_guard_sees_a_missing_metric_and_a_label_too_many(scraped: str) -> None:
    planted = scraped.replace('twofold_members{room="', 'twofold_members{pid="7",room="').replace(
        "twofold_log_head", "twofold_head"
    )
    found = labels_of(planted)
    assert found["twofold_members"] == {"pid", "room", "version", "standby"}
    assert "twofold_log_head" not in found
