"""A process is a member of its room for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from twofold.deployment import Deployment
from twofold.interpreter import settle
from twofold.lease_keeper import LeaseKeeper, new_member


@contextmanager
def member_of(
    deployment: Deployment,
    room: str,
    resources: Callable[[], Sequence[str]] = list,
    on_held: Callable[[frozenset[str]], None] = lambda held: None,
) -> Iterator[None]:
    """Count this process among the living of its room, and keep its share of the room's resources."""
    inline = deployment.inline if room == "workers" else None
    member = new_member(room, deployment.domain, inline.number if inline else 0)
    keeper = LeaseKeeper(deployment.leases, member, resources, deployment.settings.lease_seconds, on_held)
    keeper.start()
    settle()
    try:
        yield
    finally:
        keeper.close()
