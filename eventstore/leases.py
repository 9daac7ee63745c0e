"""Leases on lanes and slices: the fair share, worked out the same way by everybody from what the database shows everybody.

    members, sorted ── quota of each = total // members, the first (total % members) one more ──> give up, renew, take

A member only ever gives up its own excess and takes what is free, so no two need to agree on anything but the members. Losing a
lease is heard of at the next renewal only: what a former holder still does meanwhile is refused by the inbox, the version
check and the checkpoints.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple


class Lease(NamedTuple):
    """Who holds a resource, or held it last. `owner` is None when it was given up."""

    owner: str | None
    epoch: int
    is_expired: bool


class Share(NamedTuple):
    """What a renewal makes of the leases: held after it, resource to epoch, and given up."""

    held: dict[str, int]
    given_up: list[str]


def quota(member: str, members: Collection[str], total: int) -> int:
    """How many of `total` resources this member may hold."""
    ranked = sorted(members)
    return total // len(ranked) + (ranked.index(member) < total % len(ranked))


def share(member: str, members: Collection[str], resources: Sequence[str], leases: Mapping[str, Lease]) -> Share:
    """Keep what is held up to the quota, in the order of `resources`; fill up with what is free.

    The epoch grows when a resource comes from nobody or somebody else. It stays when a member's own lease had run out and
    nobody came: nobody else acted in between.
    """
    allowed = quota(member, members, len(resources))
    own = [resource for resource in resources if resource in leases and leases[resource].owner == member]
    held = {resource: leases[resource].epoch for resource in own[:allowed]}
    wanted = set(resources)
    given_up = own[allowed:] + [r for r, lease in leases.items() if lease.owner == member and r not in wanted]
    for resource in resources:
        if len(held) >= allowed:
            break
        lease = leases.get(resource, Lease(None, 0, True))
        if resource not in held and (lease.owner is None or lease.is_expired):
            held[resource] = lease.epoch + 1
    return Share(held, given_up)


class MemoryLeases:
    """Port Leases for the members of one process. Thread-safe."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._members: dict[str, dict[str, float]] = {}
        self._leases: dict[str, dict[str, tuple[str | None, int, float]]] = {}

    def renew(self, room: str, member: str, resources: Sequence[str], term_seconds: float) -> dict[str, int]:
        with self._lock:
            now = self._seconds()
            members = {name: until for name, until in self._members.get(room, {}).items() if until > now}
            members[member] = now + term_seconds
            self._members[room] = members
            leases = self._leases.setdefault(room, {})
            known = {resource: Lease(owner, epoch, until <= now) for resource, (owner, epoch, until) in leases.items()}
            mine = share(member, members, resources, known)
            for resource in mine.given_up:
                leases[resource] = (None, known[resource].epoch, now)
            for resource, epoch in mine.held.items():
                leases[resource] = (member, epoch, now + term_seconds)
            return mine.held

    def leave(self, room: str, member: str) -> None:
        with self._lock:
            self._members.get(room, {}).pop(member, None)
            leases = self._leases.get(room, {})
            for resource, (owner, epoch, until) in leases.items():
                if owner == member:
                    leases[resource] = (None, epoch, until)

    def members(self) -> dict[str, int]:
        with self._lock:
            now = self._seconds()
            alive = {room: sum(until > now for until in members.values()) for room, members in self._members.items()}
            return {room: count for room, count in alive.items() if count}
