"""A Twofold system from Python: `Gateway` blocks, `AsyncGateway` is awaited; names, answers and errors are the same.

    gateway.py (threads) ──┐                                       ┌── connections.py (http.client)
                           ├── steps: calls.py, listening.py ──────┤
    asynchronous.py ───────┘   said.py, answers.py, refusals.py    └── sessions.py (aiohttp)

What is said, and what is understood of the answer, is written once, in generators that do nothing themselves: they yield a
step (steps.py), and are sent what came of it. This room knows the kernel's words and HTTP, and nothing of the system behind.
"""

from twofold.client.answers import BulkResult, CommandAnswer, CommandEvent, LoggedEvent, PageAnswer, RowAnswer
from twofold.client.asynchronous import AsyncGateway
from twofold.client.gateway import Gateway
from twofold.client.refusals import Declined, Refused, StreamMoved, ViewBehind
from twofold.kernel.errors import Malformed, Misconfigured, Rejected, Unavailable

__all__ = [
    "AsyncGateway",
    "BulkResult",
    "CommandAnswer",
    "CommandEvent",
    "Declined",
    "Gateway",
    "LoggedEvent",
    "Malformed",
    "Misconfigured",
    "PageAnswer",
    "Refused",
    "Rejected",
    "RowAnswer",
    "StreamMoved",
    "Unavailable",
    "ViewBehind",
]
