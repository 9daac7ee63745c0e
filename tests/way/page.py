"""The page about the way, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.way.walk import Leg, files_of

HEAD = """\
# The way of a command

Made by running it: `python -m tests.way` starts a gateway, a worker and a projector on PostgreSQL and RabbitMQ with a tracer in
every thread, sends `POST /commands/Count` to [`examples/counter.py`](../examples/counter.py), and reads the row with the
command's id as its token. Below is what every such command passes, in order: {count} files. A file may run in several rooms'
processes, but other rooms' code calls it from one place alone: rooms meet at their doors. Shared by all are `kernel`, whose words
everybody speaks, and `database`; what counts (`monitoring`) stands between two rooms. `tests/system/test_way.py` walks again.
"""
STEP = """
## {number}. {room} {what}

| file | what runs there, in order |
|---|---|
"""


def page(legs: Sequence[Leg]) -> str:
    text = HEAD.format(count=len(files_of(legs)))
    for number, leg in enumerate(legs, start=1):
        text += STEP.format(number=number, room=leg.room, what=leg.what)
        for visit in leg.visits:
            text += f"| [`{visit.file}`](../{visit.file}) | {', '.join(f'`{name}`' for name in visit.functions)} |\n"
    return text
