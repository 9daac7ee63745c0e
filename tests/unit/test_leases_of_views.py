"""Who holds which slices: whole views while there are enough of them, parts of one only beyond that, and little is moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.eventstore.leases import Lease, share

SLICES = 4
ROUNDS = 12
"""Renewals of every member until nothing changes any more: a round gives up, the next takes."""


def slices_of(*views: str) -> tuple[str, ...]:
    return tuple(f"{view}/1/{number}" for view in views for number in range(SLICES))


SEVEN = tuple(f"view_{number}" for number in range(7))


class Room:
    """Members of one room, who renew one after the other."""

    def __init__(self, wanted: Sequence[str], is_whole: bool = True) -> None:
        self.wanted, self.is_whole = tuple(wanted), is_whole
        self.members: list[str] = []
        self.leases: dict[str, Lease] = {}
        self.moves = 0

    def renew(self, member: str) -> None:
        mine = share(member, {self.wanted: self.members}, self.leases, self.is_whole)
        self.moves += len(mine.taken) + len(mine.given_up)
        self.leases |= {resource: Lease(None, self.leases[resource].epoch) for resource in mine.given_up}
        for resource in mine.taken:
            assert self.leases.get(resource, Lease(None, 0)).owner not in self.members, "taken from one who is alive"
        self.leases |= {resource: Lease(member, mine.held[resource]) for resource in mine.taken}

    def settle(self, order: Sequence[str] = ()) -> None:
        for _ in range(ROUNDS):
            for member in order or self.members:
                self.renew(member)
        self.moves = 0
        for member in self.members:
            self.renew(member)
        assert self.moves == 0, "a settled room moves nothing"

    def held(self) -> dict[str, dict[str, int]]:
        """By member, how many slices of which view."""
        found: dict[str, Counter[str]] = {member: Counter() for member in self.members}
        for resource, lease in self.leases.items():
            if lease.owner is not None:
                found[lease.owner][resource.rpartition("/")[0]] += 1
        return {member: dict(sorted(views.items())) for member, views in found.items()}


@pytest.mark.parametrize("count", range(1, 8))
def test_with_as_many_views_as_members_each_view_is_held_by_one(count: int) -> None:
    """An event is folded into a view by one process then, in one commit."""
    room = Room(slices_of(*SEVEN))
    for number in range(count):
        room.members.append(f"m{number}")
        room.settle()
    held = room.held()
    assert all(slices == SLICES for views in held.values() for slices in views.values())
    sizes = [len(views) for views in held.values()]
    assert sum(sizes) == 7 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("views", "members"), [(1, 2), (1, 4), (2, 3), (2, 5), (3, 7), (2, 11)])
def test_members_beyond_the_views_share_them(views: int, members: int) -> None:
    """One projector is not enough for a view whose folding takes long; more than there are slices stand by."""
    room = Room(slices_of(*SEVEN[:views]))
    for number in range(members):
        room.members.append(f"m{number}")
        room.settle()
    held = room.held()
    assert sum(sum(one.values()) for one in held.values()) == views * SLICES
    assert all(len(one) <= 1 for one in held.values()), "nobody has parts of two"
    for view in {name for one in held.values() for name in one}:
        parts = [one[view] for one in held.values() if view in one]
        assert max(parts) - min(parts) <= 1
        assert members // views <= len(parts) <= -(-members // views) or len(parts) == SLICES


def test_a_newcomer_takes_whole_views_and_the_others_keep_theirs() -> None:
    """What moves is folded from rows that have to be loaded first."""
    room = Room(slices_of(*SEVEN))
    room.members = ["m0", "m1"]
    room.settle()
    before = room.held()
    room.members.append("m2")
    room.settle()
    after = room.held()
    assert [len(views) for views in after.values()] == [3, 2, 2]
    assert after["m0"].keys() < before["m0"].keys() and after["m1"].keys() < before["m1"].keys()


def test_where_one_does_not_know_whole_views_all_share_as_it_does() -> None:
    """During a rollout: two ways to share would leave slices to nobody. As soon as it has gone, the others put views together."""
    room = Room(slices_of(*SEVEN), is_whole=False)
    room.members = ["m0", "m1", "old"]
    room.settle()
    assert sorted(sum(views.values()) for views in room.held().values()) == [9, 9, 10]
    room.members.remove("old")
    room.is_whole = True
    room.settle()
    assert sorted(len(views) for views in room.held().values()) == [3, 4]
    assert all(slices == SLICES for views in room.held().values() for slices in views.values())


def test_what_only_some_want_is_shared_by_whole_views_among_those() -> None:
    """Of two versions each knows a generation that the other does not."""
    shared, new = slices_of("a", "b", "c"), slices_of("d", "e")
    wants: dict[Sequence[str], list[str]] = {shared: ["m0", "m1"], shared + new: ["m2"]}
    leases: dict[str, Lease] = {}
    for _ in range(ROUNDS):
        for member in ("m0", "m1", "m2"):
            mine = share(member, wants, leases, is_whole=True)
            leases |= {resource: Lease(None, 1) for resource in mine.given_up}
            leases |= {resource: Lease(member, 1) for resource in mine.taken}
    owners = {view: {leases[one].owner for one in slices_of(view)} for view in "abcde"}
    assert all(len(owner) == 1 for owner in owners.values())
    assert owners["d"] == owners["e"] == {"m2"}
    assert {owner for view in "abc" for owner in owners[view]} == {"m0", "m1", "m2"}


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("jldr"), st.integers(0, 9)), max_size=25),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_whoever_comes_goes_and_renews_in_whatever_order_all_is_held_in_the_end(
    views: int, slices: int, happened: list[tuple[str, int]], was_whole: bool, chance: object
) -> None:
    """Join, leave, die, renew: nothing is taken from the living (see Room), and in the end nothing is held by nobody."""
    wanted = [f"{view}/1/{number}" for view in SEVEN[:views] for number in range(slices)]
    room = Room(wanted, was_whole)
    for number, (what, whom) in enumerate(happened):
        if what == "j" and len(room.members) < 8:
            room.members.insert(whom % (len(room.members) + 1), f"{whom}-{number}")
        elif room.members and what in "ld":
            gone = room.members.pop(whom % len(room.members))
            if what == "l":
                room.leases = {one: Lease(None, it.epoch) if it.owner == gone else it for one, it in room.leases.items()}
        elif room.members:
            room.renew(room.members[whom % len(room.members)])
    room.is_whole = True
    room.members = room.members or ["last"]
    order = room.members.copy()
    chance.shuffle(order)  # type: ignore[attr-defined]
    room.settle(order)
    assert sorted(one for one, lease in room.leases.items() if lease.owner in room.members) == sorted(wanted)
    if len(room.members) <= views:
        assert all(count == slices for held in room.held().values() for count in held.values())


def test_lanes_are_shared_as_ever() -> None:
    """They are no parts of anything."""
    lanes = [str(number) for number in range(5)]
    counted, whole = Room(lanes, is_whole=False), Room(lanes)
    for room in (counted, whole):
        room.members = ["m0", "m1", "m2"]
        room.settle()
    assert counted.held() == whole.held()
