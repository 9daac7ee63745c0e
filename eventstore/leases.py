"""Leases on lanes and slices: the fair share, worked out the same way by everybody from what the database shows everybody.

    what each member wants ── resources that the same members want, shared among these ──> give up, renew, take

A lease names a member and an epoch and has no end of its own: it lasts as long as its member, who says "I am alive" in one
place. A member only ever gives up its own excess and takes what is free, so no two need to agree on anything but the members.
What a former holder still does is refused by the inbox, the version check and the checkpoints.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from twofold.kernel.members import Member


class Lease(NamedTuple):
    """Who holds a resource, or held it last. `owner` is None when it was given up."""

    owner: str | None
    epoch: int


class Share(NamedTuple):
    """What a renewal makes of the leases: held after it, resource to epoch; of these, newly taken; and given up."""

    held: dict[str, int]
    taken: list[str]
    given_up: list[str]


def share(member: str, wants: Mapping[Sequence[str], Collection[str]], leases: Mapping[str, Lease]) -> Share:
    """What this member holds from now on. `wants`: of what the living members want, each list with those who want it.

    Resources that the same members want are shared among them; one who has less of other things comes first for what cannot
    be divided evenly. What is held is kept, in the order wanted, and filled up with what is free.

    The epoch grows when a resource comes from nobody or somebody else. It stays when a member's own time had run out and
    nobody came: nobody else acted in between.
    """
    alive = {name for names in wants.values() for name in names}
    held: dict[str, int] = {}
    taken: list[str] = []
    for resources, allowed in _quotas(member, wants):
        own = [resource for resource in resources if resource in leases and leases[resource].owner == member][:allowed]
        held |= {resource: leases[resource].epoch for resource in own}
        for resource in resources:
            if len(own) >= allowed:
                break
            lease = leases.get(resource, Lease(None, 0))
            if resource not in held and lease.owner not in alive:
                own.append(resource)
                taken.append(resource)
                held[resource] = lease.epoch + 1
    given_up = [resource for resource, lease in leases.items() if lease.owner == member and resource not in held]
    return Share(held, taken, given_up)


def _quotas(member: str, wants: Mapping[Sequence[str], Collection[str]]) -> list[tuple[list[str], int]]:
    """The groups of resources that this member wants, each in the order wanted, and how many of them it may hold."""
    kinds = sorted(((sorted(names), resources) for resources, names in wants.items()), key=lambda kind: kind[0])
    wanted_by: dict[str, tuple[int, ...]] = {}
    for number, (_, resources) in enumerate(kinds):
        for resource in resources:
            wanted_by[resource] = (*wanted_by.get(resource, ()), number)
    groups: dict[tuple[int, ...], list[str]] = {}
    for resource, wanting in wanted_by.items():
        groups.setdefault(wanting, []).append(resource)
    allotted: dict[str, int] = {}
    quotas = []
    for wanting in sorted(groups):
        names = sorted((name for number in wanting for name in kinds[number][0]), key=lambda name: (allotted.get(name, 0), name))
        each, rest = divmod(len(groups[wanting]), len(names))
        for rank, name in enumerate(names):
            allotted[name] = allotted.get(name, 0) + each + (rank < rest)
            if name == member:
                quotas.append((groups[wanting], each + (rank < rest)))
    return quotas


class MemoryLeases:
    """Port Leases for the members of one process. Thread-safe."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._members: dict[tuple[str, str], tuple[Member, tuple[str, ...], float]] = {}
        self._since: dict[tuple[str, str], datetime] = {}
        self._leases: dict[str, dict[str, Lease]] = {}

    def renew(self, member: Member, resources: Sequence[str], term_seconds: float) -> dict[str, int]:
        with self._lock:
            now = datetime.now(UTC)
            since = self._since.setdefault((member.room, member.name), now)
            seen = msgspec.structs.replace(member, since=since, last_seen=now)
            self._members[member.room, member.name] = (seen, tuple(resources), self._seconds() + term_seconds)
            wants: dict[Sequence[str], list[str]] = {}
            for one, wanted in self._alive():
                if one.room == member.room:
                    wants.setdefault(wanted, []).append(one.name)
            leases = self._leases.setdefault(member.room, {})
            mine = share(member.name, wants, leases)
            leases |= {resource: Lease(None, leases[resource].epoch) for resource in mine.given_up}
            leases |= {resource: Lease(member.name, mine.held[resource]) for resource in mine.taken}
            return mine.held

    def leave(self, room: str, member: str) -> None:
        with self._lock:
            self._members.pop((room, member), None)
            self._since.pop((room, member), None)
            leases = self._leases.get(room, {})
            leases |= {resource: Lease(None, lease.epoch) for resource, lease in leases.items() if lease.owner == member}

    def members(self) -> list[Member]:
        with self._lock:
            return [
                msgspec.structs.replace(one, is_standby=bool(wanted) and not self._held_by(one), holds=self._held_by(one))
                for one, wanted in sorted(self._alive(), key=lambda alive: (alive[0].room, alive[0].name))
            ]

    def _alive(self) -> list[tuple[Member, tuple[str, ...]]]:
        now = self._seconds()
        return [(member, wanted) for member, wanted, until in self._members.values() if until > now]

    def _held_by(self, member: Member) -> tuple[str, ...]:
        held = [resource for resource, lease in self._leases[member.room].items() if lease.owner == member.name]
        return tuple(sorted(held, key=lambda resource: (len(resource), resource)))
