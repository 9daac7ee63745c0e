"""Who should hold what: the fair share, worked out the same way by everybody from what the database shows everybody.

    members, sorted ── quota of each = total // members, the first (total % members) one more ──> give up, renew, take

A member only ever gives up its own excess and takes what is free, so no two need to agree on anything but the members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
