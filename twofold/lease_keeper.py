"""Keeps a process's leases: says "alive" several times a term and tells the room what it now holds.

    renewed ──> holds what it was given, for one term from when it asked
    not renewed for a term, by this process's own clock ──> holds nothing, before anybody else may take it

So a process that alone has lost its way to the database gets out of the others' way. Whatever it still had in its hands is
fenced: the inbox and the version check refuse a second effect, the checkpoint's compare-and-set refuses rows. Nothing that
goes wrong ends the keeping: a process that is alive and keeps no leases would look well and do nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

import structlog

from twofold import VERSION
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Unavailable, WrongPassword
from twofold.kernel.members import WHOLE_VIEWS, Member, event_names_of, inline_views_name, names_of
from twofold.kernel.ports import Leases

RENEWALS_PER_TERM = 4
LOOKS_PER_TERM = 20
"""How often it is looked whether the term has ended; a renewal may hang for far longer than that."""


def new_member(room: str, domain: Domain, inline_views: int = 0) -> Member:
    """This process, which folds these inline views. Its name no other has: host, process id, and a random part for hosts that
    share a name."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    knows: frozenset[str] = frozenset()
    if room in ("readmodels", "processes"):
        knows = frozenset({WHOLE_VIEWS})
    if room == "workers":
        knows = names_of(domain.commands) | event_names_of(domain.readable) | {inline_views_name(inline_views)}
    return Member(room, name, VERSION, knows)


class LeaseKeeper:
    """Renews until closed. `resources` says what the room wants now; `on_held(resources)` is called whenever what it holds
    changes, by one thread at a time."""

    def __init__(
        self,
        leases: Leases,
        member: Member,
        resources: Callable[[], Sequence[str]],
        term_seconds: float,
        on_held: Callable[[frozenset[str]], None],
    ) -> None:
        self._leases, self._member, self._resources = leases, member, resources
        self._term_seconds = term_seconds
        self._on_held = on_held
        self._lock = Lock()
        self._held: frozenset[str] | None = None
        self._wanted: Sequence[str] = ()
        self._until = 0.0
        self._trouble: str | None = None
        self._stop = Event()
        self._log = structlog.get_logger(room=member.room)
        self._threads = [
            Thread(target=self._run, name="leases", daemon=True),
            Thread(target=self._watch, name="leases-term", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop renewing and free everything, so that others need not wait for the term to end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=self._term_seconds * 2)
        try:
            self._leases.leave(self._member.room, self._member.name)
        except Exception as error:
            self._log.warning("leases run out by themselves", reason=_reason(error))

    def _run(self) -> None:
        while not self._stop.is_set():
            asked_at = time.monotonic()
            try:
                self._wanted = self._resources()
                held = self._leases.renew(self._member, self._wanted, self._term_seconds)
                self._hold(frozenset(held), asked_at + self._term_seconds)
                self._note("slower than a term" if time.monotonic() - asked_at > self._term_seconds else None)
            except Exception as error:
                self._note(_reason(error))
            self._stop.wait(self._term_seconds / RENEWALS_PER_TERM)

    def _watch(self) -> None:
        while not self._stop.wait(self._term_seconds / LOOKS_PER_TERM):
            try:
                self._hold(None, 0.0)
            except Exception as error:
                self._note(_reason(error))

    def _hold(self, renewed: frozenset[str] | None, until: float) -> None:
        """What is held now: what was renewed, else what was before, and nothing once its term has ended."""
        with self._lock:
            self._until = max(self._until, until)
            held = self._held if renewed is None else renewed
            if self._until <= time.monotonic():
                held = self._held and frozenset()
            if held is None or held == self._held:
                return
            is_standby = bool(renewed is not None and self._wanted and not held)
            self._log.info("stands by" if is_standby else "holds", count=len(held), of=len(self._wanted))
            self._on_held(held)
            self._held = held

    def _note(self, trouble: str | None) -> None:
        """One line when a trouble begins, changes or ends, not one for each renewal."""
        with self._lock:
            before, self._trouble = self._trouble, trouble
        if trouble != before:
            if trouble is None:
                self._log.info("leases renewed again")
            else:
                self._log.warning("leases not renewed", reason=trouble)


def _reason(error: Exception) -> str:
    """Without what differs from one time to the next. The text of what is no Unavailable may be of any length."""
    if isinstance(error, WrongPassword):
        return str(error)
    if isinstance(error, Unavailable):
        return f"{error.neighbour.value}: {error.reason}"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
