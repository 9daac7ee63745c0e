"""CQRS and event sourcing, as a system that runs. What a domain is written in stands here, at the front; its tests' words
are in `twofold.testing`.

The rooms of the house (`kernel`, `bus`, `workers`, …) are folders of their own in the repository and packages below this one:
each is linked in beside the roof's own files (docs/architecture.md says how).
"""

from twofold.kernel.decider import Decider, Downcaster, Upcaster
from twofold.kernel.effects import Attempt, CallRefused, Effect
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.kernel.process import (
    After,
    At,
    Call,
    CallGivenUp,
    CommandRejected,
    InstanceCancelled,
    InstanceRetried,
    NoMore,
    Process,
    TimerFired,
)
from twofold.kernel.view import About, Through, View

__all__ = [
    "VERSION",
    "About",
    "After",
    "At",
    "Attempt",
    "Call",
    "CallGivenUp",
    "CallRefused",
    "Command",
    "CommandRejected",
    "Decider",
    "Downcaster",
    "Effect",
    "Event",
    "InstanceCancelled",
    "InstanceRetried",
    "NoMore",
    "Process",
    "Rejected",
    "Through",
    "TimerFired",
    "Upcaster",
    "View",
]

VERSION = "0.2.0.dev0"
