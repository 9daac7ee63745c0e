"""Keeps a process's leases: says "alive" several times a term and tells the room what it now holds.

When the database does not answer, the room keeps what it had: what it does meanwhile is fenced (the inbox and the version
check refuse a second effect, the checkpoint's compare-and-set refuses rows), so a late handover costs time and nothing else.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from threading import Event, Thread

import structlog

from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import Leases

RENEWALS_PER_TERM = 4


def new_member() -> str:
    """A name no other process has: host, process id, and a random part for hosts that share a name."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class LeaseKeeper:
    """Renews until closed. `on_held(resources)` is called from its thread whenever the set changes."""

    def __init__(
        self,
        leases: Leases,
        room: str,
        resources: Sequence[str],
        term_seconds: float,
        on_held: Callable[[frozenset[str]], None],
    ) -> None:
        self._leases, self._room, self._resources = leases, room, resources
        self._term_seconds = term_seconds
        self._on_held = on_held
        self._member = new_member()
        self._held: dict[str, int] | None = None
        self._stop = Event()
        self._log = structlog.get_logger(room=room)
        self._thread = Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop renewing and free everything, so that others need not wait for the term to end."""
        self._stop.set()
        self._thread.join(timeout=self._term_seconds * 2)
        try:
            self._leases.leave(self._room, self._member)
        except Unavailable as error:
            self._log.warning("leases run out by themselves", unavailable=str(error))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._renew()
            except Unavailable as error:
                self._log.warning("leases not renewed", unavailable=str(error))
            self._stop.wait(self._term_seconds / RENEWALS_PER_TERM)

    def _renew(self) -> None:
        held = self._leases.renew(self._room, self._member, self._resources, self._term_seconds)
        if held != self._held:
            self._held = held
            self._log.info("holds", count=len(held), of=len(self._resources))
            self._on_held(frozenset(held))
