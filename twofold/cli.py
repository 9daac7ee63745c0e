"""The command line. An error is one line on stderr that names the setting and the fix; status 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Annotated, NoReturn

import msgspec
import typer

from twofold import VERSION, dead, instances, logs, parked, partitions
from twofold.interpreter import take_all_files
from twofold.kernel.errors import Error, Misconfigured
from twofold.kernel.lanes import LANES_MAX
from twofold.supervisor import CHILD, Supervisor, end_with_supervisor
from twofold.terminal import gateway_here, said, settings_here, show

app = typer.Typer(
    name="twofold",
    help="CQRS and event sourcing, as a system that runs. Settings come from TWOFOLD_… variables; `twofold doctor` lists them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(parked.app, name="parked")
app.add_typer(dead.app, name="dead")
app.add_typer(instances.app, name="process")
app.add_typer(partitions.app, name="partitions")

STATUS_OF = {"succeeded": 0, "ignored": 0, "rejected": 1, "parked": 1}
UNDECIDED = 3
"""What `send --wait` and `outcome` end with, by what became of the command."""

Processes = Annotated[int, typer.Option("--processes", "-n", min=1, max=64, help="How many, under one supervisor.")]


def main() -> None:
    """Entry point: the five errors become one line and status 1."""
    take_all_files()
    try:
        app()
    except Error as error:
        _fail(said(error))


@app.command()
def up(
    domain: Annotated[str | None, typer.Option(help="Importable domain module.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder of the embedded databases.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (`send` and the rest ask at TWOFOLD_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (`send` and the rest ask at TWOFOLD_PORT).")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Replay the sample month of real orders into it.")] = False,
) -> None:
    """Run everything in one process, embedded."""
    from twofold.banner import Banner
    from twofold.rooms import run_up

    settings = settings_here(domain=domain, data=data, host=host, port=port)
    logs.set_up("up", logging.WARNING)
    with Banner(settings, sample) as banner:
        run_up(settings, banner.show)


@app.command()
def gateway(processes: Processes = 1) -> None:
    """Run the HTTP gateway."""
    _room("gateway", processes)


@app.command()
def proxy(gateways: Annotated[str, typer.Argument(metavar="NAME:PORT", help="Where they are; several with commas.")]) -> None:
    """Be the one port that several gateways stand behind."""
    from twofold.gateway.proxy.serving import run

    settings = settings_here()
    logs.set_up("proxy")
    run(gateways, settings.host, settings.port)


@app.command()
def workers(processes: Processes = 1) -> None:
    """Run workers: they execute commands."""
    _room("workers", processes)


@app.command()
def readmodels(processes: Processes = 1) -> None:
    """Run projectors: they fold events into rows."""
    _room("readmodels", processes)


@app.command("processes")
def processes_room(processes: Processes = 1) -> None:
    """Run processes: they react to events with commands, timers and calls to the outside."""
    _room("processes", processes)


@app.command()
def monitoring() -> None:
    """Run the exporter of the system's facts for Prometheus."""
    _room("monitoring", 1)


@app.command()
def migrate(
    lanes: Annotated[int | None, typer.Option(min=1, max=LANES_MAX, help="Of a new log, where TWOFOLD_LANES is unset.")] = None,
) -> None:
    """Make or update the schemas of log and views. Safe to repeat."""
    from twofold.wiring import migrate as migrate_all

    migrate_all(settings_here(), lanes)
    typer.echo("migrated")


@app.command()
def send(
    command_type: Annotated[str, typer.Argument(metavar="TYPE")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="The command's fields, or - for standard input.")],
    wait: Annotated[float | None, typer.Option(help="Seconds to wait for the outcome.")] = None,
) -> None:
    """Submit a command. With --wait: status 0 succeeded or ignored, 1 rejected or parked, 3 not decided in time."""
    try:
        text = sys.stdin.read() if data == "-" else data
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}") from error
    answer = gateway_here().send(command_type, msgspec.Raw(text.encode()), wait_seconds=wait)
    show(answer)
    if wait is not None:
        raise typer.Exit(STATUS_OF.get(answer.status, UNDECIDED))


@app.command()
def outcome(command_id: Annotated[str, typer.Argument(metavar="COMMAND_ID")]) -> None:
    """Show what became of a command, as far as is known now. Status as of `send --wait`."""
    answer = gateway_here().outcome(command_id)
    show(answer)
    raise typer.Exit(STATUS_OF.get(answer.status, UNDECIDED))


@app.command()
def get(
    view: str, key: str, after: Annotated[str | None, typer.Option(metavar="TOKEN", help="Wait for this id or position.")] = None
) -> None:
    """Show one row of a view."""
    found = gateway_here().get(view, key, after=after)
    if found.row is None:
        _fail("There is no such row: none is under this key")
    show(found.row)


@app.command()
def lag(watch: Annotated[bool, typer.Option("--watch", help="Keep showing it.")] = False) -> None:
    """Show how far every view is behind the log."""
    from twofold.watch import show_lag

    show_lag(gateway_here(), watch)


@app.command()
def audit(view: Annotated[str | None, typer.Argument(help="One view; all of them when none is named.")] = None) -> None:
    """Compare rows with a fresh fold of the log; status 1 on a difference, or a parked key."""
    from twofold.watch import show_audit

    raise typer.Exit(show_audit(gateway_here(), view))


@app.command()
def rebuild(
    view: str,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there would be to do.")] = False,
    throttle: Annotated[str | None, typer.Option(metavar="N/s", help="At most so many events a second.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Call it off.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the rows from before.")] = False,
) -> None:
    """Make a view's rows anew beside those that answer, verify them, and let them answer; status 1 when that fails."""
    from twofold.rebuild import run

    raise typer.Exit(run(gateway_here(), view, dry_run, throttle, cancel, rollback))


@app.command()
def lanes(count: Annotated[int | None, typer.Argument(min=1, max=LANES_MAX, metavar="N")] = None) -> None:
    """Show how many lanes there are, or change it: while rooms run, embedded while `up` does not."""
    from twofold.resize import lanes as show_or_change

    show_or_change(settings_here(), count)


@app.command()
def members() -> None:
    """Show every living process, and what it holds."""
    from twofold.watch import show_members

    show_members(gateway_here().call("GET", "/members"))


@app.command()
def doctor() -> None:
    """Check settings and neighbours, and say what to fix."""
    from twofold.doctor import examine

    raise typer.Exit(examine(settings_here()))


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(VERSION)


def _room(name: str, processes: int) -> None:
    """This process as a room, or as the supervisor of several."""
    child = os.environ.pop(CHILD, None)
    settings = settings_here()
    logs.set_up(name if child is None else f"{name}-{child}")
    if child is None and processes > 1:
        raise typer.Exit(Supervisor([name, "--processes", str(processes)], processes).run())
    if settings.is_embedded:
        raise Misconfigured("TWOFOLD_DATABASE_URL is not set: rooms of their own need servers; `twofold up` runs embedded")
    if child is not None:
        end_with_supervisor()
    from twofold import rooms
    from twofold.passwords import refuse_wrong_passwords

    refuse_wrong_passwords(settings, name)
    if name == "gateway":
        rooms.run_gateway(settings, reuse_port=child is not None)
    else:
        getattr(rooms, f"run_{name}")(settings)


def _fail(line: str) -> NoReturn:
    typer.echo(f"twofold: {line}", err=True)
    raise SystemExit(1)
