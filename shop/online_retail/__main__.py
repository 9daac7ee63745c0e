"""`python -m twofold.shop.online_retail`: the arguments, the progress bar and the summary. See the package for what it does.

Exit status: 0 all commands took effect or had done so before, 1 something was refused or failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from twofold.client import Gateway
from twofold.kernel.errors import Malformed, Misconfigured, Unavailable
from twofold.shop.online_retail.invoices import Parsed, read
from twofold.shop.online_retail.sending import PATIENCE_SECONDS, Failure, replay
from twofold.shop.order import PlaceOrder
from twofold.shop.returns import RecordReturn
from twofold.shop.stock import AdjustStock

FAILURES_SHOWN_MAX = 20
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    try:
        parsed = read(arguments.file, arguments.limit)
    except Malformed as error:
        return _failed(f"{arguments.file}: {error.detail}")
    try:
        gateway = Gateway(arguments.url, patience_seconds=PATIENCE_SECONDS)
    except Misconfigured as error:
        return _failed(f"--url {error}")
    try:
        with gateway:
            failures = _replay(gateway, parsed, arguments.rate)
    except Misconfigured as error:
        return _failed(str(error))
    except Unavailable as error:
        return _failed(f"{error}; start this again to go on from here")
    except KeyboardInterrupt:
        return _failed("stopped; start this again to go on from here", INTERRUPTED)
    for failure in failures[:FAILURES_SHOWN_MAX]:
        print(f"invoice {failure.invoice}: {failure.command_type} {failure.reason}", file=sys.stderr)
    if len(failures) > FAILURES_SHOWN_MAX:
        print(f"and {len(failures) - FAILURES_SHOWN_MAX} more", file=sys.stderr)
    print(summary(parsed))
    return 1 if failures else 0


def summary(parsed: Parsed) -> str:
    """What the file became: commands by type, and lines that became none."""
    types = [type(command.command) for command in parsed.commands]
    orders, returns, adjustments = types.count(PlaceOrder), types.count(RecordReturn), types.count(AdjustStock)
    return f"orders {orders}, returns {returns}, adjustments {adjustments}, skipped {parsed.skipped}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m twofold.shop.online_retail", description="Replay real invoices through the HTTP API."
    )
    parser.add_argument("file", type=Path, metavar="FILE.csv[.gz]")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the gateway is (default: %(default)s)")
    parser.add_argument("--rate", type=_rate, metavar="N/s", help="commands a second (default: as fast as they are decided)")
    parser.add_argument("--limit", type=_count, metavar="INVOICES", help="only the first so many invoices of the file")
    return parser.parse_args(argv)


def _rate(text: str) -> float:
    number = text.removesuffix("/s")
    if not number.replace(".", "", 1).isdigit() or not float(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of commands a second, like 100/s")
    return float(number)


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of invoices")
    return int(text)


class RateColumn(ProgressColumn):
    """Commands decided a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def _replay(gateway: Gateway, parsed: Parsed, rate: float | None) -> list[Failure]:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("commands", total=len(parsed.commands))
        return replay(gateway, parsed.commands, rate, lambda count: bar.advance(task, count))


def _failed(line: str, status: int = 1) -> int:
    print(f"online_retail: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
