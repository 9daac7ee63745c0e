"""`twofold partitions`: how far the log has grown, and what of it is kept elsewhere. With the rights of whoever migrates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from twofold import VERSION
from twofold.eventstore import partitions as log
from twofold.kernel.errors import Misconfigured
from twofold.settings import Settings
from twofold.terminal import settings_here
from twofold.wiring import open_deployment
from twofold.workers.keeping import keep_states

app = typer.Typer(help="The log's tables by position: what there is, and what is detached from it.", no_args_is_help=True)


@app.command("list")
def list_all() -> None:
    """Every partition, with its size."""
    growth = log.growth_of(_url(settings_here()))
    table = Table("partition", "positions", "MB", "", title=f"head {growth.head}")
    for one in growth.partitions:
        state = "attached" if one.is_attached and not one.is_kept else "kept for folds" if one.is_kept else "detached"
        table.add_row(one.name, f"{one.first} to {one.until - 1}", f"{one.bytes / 2**20:.1f}", state)
    console = Console()
    console.print(table if growth.size else "the log is not in partitions: `twofold partitions begin`")
    if growth.detached_through:
        console.print(f"positions 1 to {growth.detached_through} are detached")


@app.command("begin")
def begin() -> None:
    """Make the tables of a log from before 0.2 the first partitions. Afterwards no earlier version can be started on it."""
    settings = settings_here()
    with open_deployment(settings) as deployment:
        earlier = sorted({one.version or "0.1.0" for one in deployment.leases.members() if one.version != VERSION})
    if earlier:
        raise Misconfigured(f"processes of version {', '.join(earlier)} are running, which write to one table; end them first")
    _tell(log.partition(_url(settings)))


@app.command("detach")
def detach(before: Annotated[int, typer.Option(metavar="POSITION", help="What ends before it.")]) -> None:
    """Take old partitions out of the log. States of their streams are kept first: then of most one event alone has to stay."""
    settings = settings_here()
    url = _url(settings)
    with open_deployment(settings) as deployment:
        builds = deployment.rows.builds([view.name for view in deployment.domain.views.values() if view.sync == "async"])
        head = log.growth_of(url).head
        lowest = min([build.position for build in builds], default=head)
        found = log.refuse_to_detach(log.growth_of(url), before, settings.idempotency_positions, lowest)
        if not found:
            raise Misconfigured(f"no partition ends before position {before}; `twofold partitions list` shows them")
        for one in found:
            typer.echo(f"{one.name}: keeps the states of streams that are folded from it")
            kept_count = sum(
                keep_states(deployment.domain, deployment.codec, deployment.events, s) for s in log.streams_to_keep(url, one)
            )
            typer.echo(f"{one.name}: {kept_count} states kept")
            _tell(log.detach(url, one))


@app.command("attach")
def attach() -> None:
    """Bring back what was detached last."""
    _tell(log.attach(_url(settings_here())))


def _url(settings: Settings) -> str:
    if settings.is_embedded:
        raise Misconfigured("TWOFOLD_DATABASE_URL is not set: an embedded log is one file, and has no partitions")
    return settings.database_url


def _tell(steps: Iterator[str]) -> None:
    for step in steps:
        typer.echo(step)
