"""`twofold process`: what processes are at, and what somebody does about an instance that is stuck. (`twofold processes` is the
room.)"""

from __future__ import annotations

import uuid
from typing import Annotated, Any
from urllib.parse import quote

import typer

from twofold.client import Gateway
from twofold.terminal import gateway_here, show

STATES = ("running", "stuck", "done", "cancelled")
SHOWN_MAX = 100
WAIT_SECONDS_MAX = 30.0
UNDECIDED = 3

app = typer.Typer(help="Processes and their instances: listed, shown, tried again, called off.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The process.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The instance, as its process names it.")]
Reason = Annotated[str, typer.Option(help="Why: it is written into the log.")]


@app.command("list")
def list_all(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only of this process.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Instances in this state: {', '.join(STATES)}.")] = None,
) -> None:
    """Every process; with a name or a state, instances."""
    from twofold.watch import show_instances, show_processes

    if state is not None and state not in STATES:
        raise typer.BadParameter(f"one of {', '.join(STATES)}", param_hint="--state")
    gateway = gateway_here()
    if name is None and state is None:
        show_processes(gateway.call("GET", "/processes"))
        return
    names = [name] if name else [one["name"] for one in gateway.call("GET", "/processes")["processes"]]
    found = {each: instances_of(gateway, each, state) for each in names}
    show_instances(
        [one for items, _ in found.values() for one in items], [each for each, (_, is_more) in found.items() if is_more]
    )


@app.command("show")
def show_one(name: Name, key: Key) -> None:
    """One instance: what is known of it, and what it waits for."""
    show(gateway_here().call("GET", _path(name, key)))


@app.command("retry")
def retry(name: Name, key: Key, reason: Reason) -> None:
    """Have its calls that were given up made again, and the event that parks it folded again."""
    _end(told(gateway_here(), name, key, "retry", reason))


@app.command("cancel")
def cancel(name: Name, key: Key, reason: Reason) -> None:
    """Have it end: the process takes back what it has done, if it has been told how."""
    _end(told(gateway_here(), name, key, "cancel", reason))


def instances_of(gateway: Gateway, name: str, state: str | None) -> tuple[list[Any], bool]:
    """As many as are shown, and whether there are more."""
    found: list[Any] = []
    cursor: str | None = None
    while len(found) < SHOWN_MAX:
        asked = {"state": state, "cursor": cursor, "limit": str(SHOWN_MAX - len(found))}
        query = "&".join(f"{one}={quote(value, safe='')}" for one, value in asked.items() if value)
        page = gateway.call("GET", f"/processes/{quote(name, safe='')}?{query}")
        found, cursor = found + page["items"], page["next"]
        if cursor is None:
            return found, False
    return found, True


def told(gateway: Gateway, name: str, key: str, act: str, reason: str) -> Any:
    """What became of it. It has a key of its own, so that it happens once, however often it had to be sent."""
    headers = {"Idempotency-Key": uuid.uuid4().hex, "Prefer": f"wait={WAIT_SECONDS_MAX:.0f}"}
    path = f"{_path(name, key)}/{act}"
    return gateway.call("POST", path, {"reason": reason}, headers=headers, is_repeatable=True)


def _end(answer: Any) -> None:
    """Status 3, as of `send --wait`, when it is durable and nobody has got round to it."""
    show(answer)
    raise typer.Exit(UNDECIDED if answer["status"] == "accepted" else 0)


def _path(name: str, key: str) -> str:
    return f"/processes/{quote(name, safe='')}/{quote(key, safe='')}"
