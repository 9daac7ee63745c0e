"""CQRS and event sourcing, as a system that runs. What a domain is written in stands here, at the front; its tests' words
are in `twofold.testing`.

The rooms of the house (`kernel`, `bus`, `workers`, …) are folders of their own in the repository and packages below this one:
each is linked in beside the roof's own files (docs/architecture.md says how).
"""

from twofold.kernel.decider import Decider, Downcaster, Upcaster
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, Through, View

__all__ = ["VERSION", "About", "Command", "Decider", "Downcaster", "Event", "Rejected", "Through", "Upcaster", "View"]

VERSION = "0.2.0.dev0"
