"""`twofold doctor`: every setting, every neighbour, and what to do about what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import twofold.bus.rabbitmq.publisher
import twofold.bus.rabbitmq.topology
import twofold.bus.rabbitmq.transport
import twofold.eventstore.migrate
import twofold.readmodels.stores.redis
import twofold.readmodels.stores.search.connect
import twofold.readmodels.stores.sql
from twofold.database.postgres import LOG, connect
from twofold.database.urls import sqlite_path
from twofold.eventstore.identity import require
from twofold.eventstore.partitions import growth_of
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Error, Misconfigured
from twofold.places import log_url
from twofold.resize import told
from twofold.settings import Settings, reference, variable
from twofold.terminal import gateway_of, said
from twofold.wiring import open_deployment

Check = tuple[str, Callable[[], str]]


def examine(settings: Settings) -> int:
    """Print the settings and the findings; 0 when all is well, else 1."""
    console = Console()
    console.print(_settings_table(settings))
    findings = Table("check", "", "finding", title="findings")
    is_well = True
    for name, check in _checks(settings):
        try:
            findings.add_row(name, "[green]ok[/]", check())
        except Error as error:
            is_well = False
            findings.add_row(name, "[red]failed[/]", said(error))
    console.print(findings)
    return 0 if is_well else 1


def _settings_table(settings: Settings) -> Table:
    table = Table("setting", "value", "meaning", title="settings")
    for (name, default, meaning), field in zip(reference(), Settings.__struct_fields__, strict=True):
        value = "" if getattr(settings, field) is None else str(getattr(settings, field))
        shown = "set" if field.endswith("_url") and value else value or "unset"
        table.add_row(name, shown if value == default else f"[bold]{shown}[/]", meaning)
    return table


def _checks(settings: Settings) -> Iterator[Check]:
    yield "domain", lambda: _domain(settings)
    yield "log database", lambda: _log(settings)
    yield "growth", lambda: _embedded_growth(settings) if settings.is_embedded else _growth(settings)
    if not settings.is_embedded:
        yield "members", lambda: _members(settings)
        yield "broker", lambda: _broker(settings)
        if settings.read_database_url:
            yield "rows database", lambda: _rows(settings)
    if settings.redis_url:
        yield "redis", lambda: _redis(settings)
    if settings.search_url:
        yield "search", lambda: twofold.readmodels.stores.search.connect.ask(settings.search_url)
    yield "gateway", lambda: _gateway(settings)
    yield "dead letters, parked", lambda: _left_behind(settings)


def _domain(settings: Settings) -> str:
    domain = load_domain(settings.domain_module)
    return f"{settings.domain}: {len(domain.commands)} commands, {len(domain.events)} events, {len(domain.views)} views"


def _log(settings: Settings) -> str:
    url = log_url(settings)
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return "not made yet: `twofold up` makes it"
    if not twofold.eventstore.migrate.is_current(url):
        raise Misconfigured(f"the schema is not up to date; run `twofold {'up' if settings.is_embedded else 'migrate'}`")
    log = require(url, load_domain(settings.domain_module), settings.lanes)
    return f"schema up to date, log {log.id} of domain {log.domain}, {log.lanes} lanes, {len(log.event_types)} types of events"


def _growth(settings: Settings) -> str:
    growth = growth_of(settings.database_url)
    total = sum(one.bytes for one in growth.partitions) / 2**30
    if not growth.size:
        return f"one table, head {growth.head}; `twofold partitions begin` makes partitions of it, once no earlier version runs"
    last = growth.partitions[-1]
    if last.first <= growth.head:
        raise Misconfigured(
            f"{last.name} is the last partition, and in use: may {variable('database_url')}'s role call log_extend()?"
            " As the one that migrated, run `SELECT log_extend()`"
        )
    told = f"{len(growth.partitions)} partitions of {growth.size} positions, {total:.1f} GB, head {growth.head}"
    if growth.detached_through:
        told += f", detached through {growth.detached_through}"
    if horizon := settings.idempotency_positions:
        old = [one for one in growth.partitions if one.is_attached and not one.is_kept and one.until <= growth.head + 1 - horizon]
        if old:
            gigabytes = sum(one.bytes for one in old) / 2**30
            told += f"; {gigabytes:.1f} GB lie behind the horizon: `twofold partitions detach --before {old[-1].until}`"
    return told


def _embedded_growth(settings: Settings) -> str:
    files = sorted(one for one in Path(settings.data).glob("*.db*") if one.suffix != ".lock")
    return (
        ", ".join(f"{file.name} {file.stat().st_size / 2**20:.1f} MB" for file in files if file.suffix != ".lock")
        or "nothing yet"
    )


def _members(settings: Settings) -> str:
    engine = connect(settings.database_url, 1, LOG)
    try:
        members = PostgresLeases(engine).members()
    finally:
        engine.dispose()
    if not members:
        return "none: no room is running"
    living, standing_by = Counter(one.room for one in members), Counter(one.room for one in members if one.is_standby)
    return ", ".join(
        f"{count} {room}"
        + (f" ({standing_by[room]} standing by: more of them than there is to share)" if standing_by[room] else "")
        for room, count in sorted(living.items())
    )


def _broker(settings: Settings) -> str:
    with open_deployment(settings) as deployment:
        state, depths = deployment.lane_state(), deployment.depths()
    return f"reachable, {told(state)}, {sum(depths.values())} messages waiting"


def _rows(settings: Settings) -> str:
    twofold.readmodels.stores.sql.ask(settings.read_database_url)
    return "reachable"


def _redis(settings: Settings) -> str:
    twofold.readmodels.stores.redis.refuse_eviction(settings.redis_url)
    return "reachable, never evicts"


def _gateway(settings: Settings) -> str:
    lag = gateway_of(settings).call("GET", "/lag")
    diverged = [name for name, view in lag["views"].items() if view["state"] == "diverged"]
    if diverged:
        fix = f"fold them anew: `twofold rebuild {diverged[0]}`"
        raise Misconfigured(f"the log has lost events that these views have shown: {', '.join(diverged)}; {fix}")
    behind = [name for name, view in lag["views"].items() if view["state"] != "live"]
    if behind:
        raise Misconfigured(f"{variable('port')}={settings.port} answers, but these views are not live: {', '.join(behind)}")
    return f"answers on port {settings.port}, head {lag['head']}"


def _left_behind(settings: Settings) -> str:
    parked = gateway_of(settings).call("GET", "/parked")
    commands, keys = len(parked["commands"]), len(parked["keys"])
    if commands or keys:
        raise Misconfigured(f"{commands} commands and {keys} keys are parked; see `twofold parked list`")
    dead = len(gateway_of(settings).call("GET", "/dead")["items"])
    if dead:
        raise Misconfigured(f"{dead} dead letters, whose commands have no outcome; see `twofold dead list`")
    return "none"
