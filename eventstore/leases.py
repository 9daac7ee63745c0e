"""Leases on lanes and slices: the fair share, worked out the same way by everybody from what the database shows everybody.

    what each member wants ── resources that the same members want, shared among these ──> give up, renew, take

Slices of one view stay together while there are as many views as members: then an event is folded into a view by one process, in
one commit. Only members beyond that number are given a part of a view. How busy anybody is does not count: that changes by the
second, and whoever starts more projectors than there are views says by it that one is not enough for each.

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

from twofold.kernel.members import WHOLE_VIEWS, Member


class Lease(NamedTuple):
    """Who holds a resource, or held it last. `owner` is None when it was given up."""

    owner: str | None
    epoch: int


class Share(NamedTuple):
    """What a renewal makes of the leases: held after it, resource to epoch; of these, newly taken; and given up."""

    held: dict[str, int]
    taken: list[str]
    given_up: list[str]


Wants = Mapping[Sequence[str], Collection[str]]


def share(member: str, wants: Wants, leases: Mapping[str, Lease], is_whole: bool = False) -> Share:
    """What this member holds from now on. `wants`: of what the living members want, each list with those who want it.

    Resources that the same members want are shared among them; one who has less of other things comes first for what cannot
    be divided evenly. What is held is kept, in the order wanted, and filled up with what is free. `is_whole`: all of them share
    whole views, of which resources of one name before the last "/" are slices.

    The epoch grows when a resource comes from nobody or somebody else. It stays when a member's own time had run out and
    nobody came: nobody else acted in between.
    """
    alive = {name for names in wants.values() for name in names}
    held: dict[str, int] = {}
    taken: list[str] = []
    owners = {resource: lease.owner for resource, lease in leases.items() if lease.owner in alive}
    for resources, allowed in _quotas(member, wants, owners if is_whole else None):
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


def _quotas(member: str, wants: Wants, owners: Mapping[str, str | None] | None) -> list[tuple[list[str], int]]:
    """What this member may hold: of these resources, in the order wanted, so many. `owners`: who has what, if views are whole."""
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
        given = _evenly(groups[wanting], names) if owners is None else _by_views(groups[wanting], names, owners)
        for name, resources, allowed in given:
            allotted[name] = allotted.get(name, 0) + allowed
            if name == member:
                quotas.append((resources, allowed))
    return quotas


def _evenly(resources: list[str], names: Sequence[str]) -> list[tuple[str, list[str], int]]:
    """For each of these members, of which resources it may hold how many."""
    each, rest = divmod(len(resources), len(names))
    return [(name, resources, each + (rank < rest)) for rank, name in enumerate(names)]


def _by_views(
    resources: Sequence[str], names: Sequence[str], owners: Mapping[str, str | None]
) -> list[tuple[str, list[str], int]]:
    """The same, by whole views; members beyond their number are seated beside others, and share a view evenly with them.

    A view is with the first of those who have slices of it, and stays with him; who has slices of several, or of none, is moved.
    """
    views: dict[str, list[str]] = {}
    for resource in resources:
        views.setdefault(resource.rpartition("/")[0] or resource, []).append(resource)
    having = {
        view: list(dict.fromkeys(owners[one] for one in slices if owners.get(one) in names)) for view, slices in views.items()
    }
    seats = {view: max(1, size) for (view, _), size in zip(views.items(), _sizes(len(names), len(views)), strict=True)}
    seated: dict[str, list[str]] = {view: [] for view in views}
    places = dict(zip(names, _sizes(max(len(names), len(views)), len(names)), strict=True))
    for view in views:
        for name in having[view][: 1 if len(names) <= len(views) else None]:
            if name is not None and places[name] and len(seated[view]) < seats[view]:
                seated[view].append(name)
                places[name] -= 1
    free = [name for name in names for _ in range(places[name])]
    for view in sorted(views, key=lambda view: bool(having[view])):  # who is to leave a view keeps nobody from a free one
        while len(seated[view]) < seats[view]:
            seated[view].append(free.pop(0))
    return [given for view, slices in views.items() for given in _evenly(slices, seated[view])]


def _sizes(count: int, parts: int) -> list[int]:
    """So many, in so many parts as even as can be."""
    each, rest = divmod(count, parts)
    return [each + (number < rest) for number in range(parts)]


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
            room = [(one, wanted) for one, wanted in self._alive() if one.room == member.room]
            for one, wanted in room:
                wants.setdefault(wanted, []).append(one.name)
            leases = self._leases.setdefault(member.room, {})
            mine = share(member.name, wants, leases, all(WHOLE_VIEWS in one.knows for one, _ in room))
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
