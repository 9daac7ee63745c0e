"""Why the rows of an inline view cannot be made, in one line: which event of the log it is, and where the bug is."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twofold.kernel.errors import BUGS, Misconfigured
from twofold.kernel.log import Recorded
from twofold.kernel.view import AnyView

SAID_CHARS_MAX = 300
OURS = ("codec.py", "columns.py")
"""What fails there is data, and the place says nothing of it."""


@contextmanager
def folding(view: AnyView, recorded: Recorded) -> Iterator[None]:
    """Whatever is raised in the block is the fault of this event, or of the code that folds it."""
    try:
        yield
    except BUGS as error:
        raise _cannot_be_made(view, recorded, error) from error


def _cannot_be_made(view: AnyView, recorded: Recorded, error: BaseException) -> Misconfigured:
    """For whoever starts: nothing has been changed, and what answers and folds now goes on."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = "" if Path(last.filename).name in OURS else f", {Path(last.filename).name}:{last.lineno}"
    said = " ".join(str(error).split())[:SAID_CHARS_MAX]
    event = f"event {recorded.position} ({recorded.type}, stream {recorded.stream})"
    why = f"{type(error).__name__}{f': {said}' if said else ''}{place}"
    return Misconfigured(f"the rows of inline view {view.name} cannot be made: {event}: {why}; mend the code, or go back")
