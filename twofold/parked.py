"""`twofold parked`: commands and keys of views that wait because of a bug, listed, shown, tried again and given up."""

from __future__ import annotations

from typing import Annotated

import typer

from twofold.terminal import escaped, gateway_here, show

app = typer.Typer(help="Commands and view keys that wait because of a bug.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(metavar="REF", help="As listed.")]


@app.command("list")
def list_all() -> None:
    """Everything parked."""
    from twofold.watch import show_parked

    show_parked(gateway_here().call("GET", "/parked"))


@app.command("show")
def show_one(ref: Ref) -> None:
    """One parked command or key, with its context."""
    show(gateway_here().call("GET", f"/parked/{escaped(ref)}"))


@app.command("retry")
def retry(ref: Ref) -> None:
    """Try again, against the state as it is now. Of a command, `twofold outcome` says what became of it."""
    show(gateway_here().call("POST", f"/parked/{escaped(ref)}/retry"))


@app.command("discard")
def discard(ref: Ref) -> None:
    """Give it up for good."""
    show(gateway_here().call("POST", f"/parked/{escaped(ref)}/discard"))
