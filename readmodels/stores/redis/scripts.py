"""The scripts, each in a .lua file; those of SHARING begin with what they share, write.lua. Each runs whole or, on a server
that lacks memory, not at all; all keys of a view are in one hash slot.

    rows         key -> [position, row as JSON, members]      members: where the row stands in each order, see orders.py;
                 and a mark under NUL, from the first commit on: whoever finds no hash knows that it was lost
    by:{n}       sorted set of the members of order n
    checkpoints  slice -> position, absent for 0
    parked       NUL-joined (slice, key) -> [position, error, waiting, attempts, parked at, request]
    parked:firsts, parked:asked   an index of it: NUL-joined (slice, key) by where its line begins, and to its request;
                 under \\1 and the same, where it begins of which a retry found that its event concerns other keys now
    lines        sorted set of NUL-joined (slice, key, position in 16 hexadecimal digits)
    generations  number -> [slices, shape, count of orders]      of the view
    states       number -> building, live or retired; where none is noted, the highest number is live

Values in brackets are MessagePack. Positions travel as text: Lua's numbers are floats.
"""

from __future__ import annotations

from importlib.resources import files

SHARING = ("commit", "drain", "standing")


def script(name: str) -> str:
    """The text of one of them."""
    parts = ("write", name) if name in SHARING else (name,)
    return "".join(files(__package__).joinpath(f"{part}.lua").read_text() for part in parts)
