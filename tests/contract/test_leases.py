"""What leases promise, kept in PostgreSQL or in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
import pytest

import twofold.eventstore.postgres.leases
from twofold.database.postgres import LOG, connect
from twofold.eventstore.leases import Lease, MemoryLeases, Share, share
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.members import WHOLE_VIEWS, Member
from twofold.kernel.ports import Leases

LANES = [f"lane-{number}" for number in range(7)]
TERM_SECONDS = 1.2
RENEW_SECONDS = 0.3
MOVED_SECONDS_MAX = 2.0


@pytest.fixture(params=["postgres", "memory"])
def leases(request: pytest.FixtureRequest) -> Iterator[Leases]:
    if request.param == "memory":
        yield MemoryLeases()
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    engine = connect(url, 4, LOG)
    yield PostgresLeases(engine)
    engine.dispose()


def alive(leases: Leases) -> dict[str, int]:
    return dict(Counter(member.room for member in leases.members()))


def renewed(leases: Leases, *members: str, rounds: int = 2, term: float = 30.0) -> dict[str, dict[str, int]]:
    """What each member holds after every one of them has renewed so many times."""
    held = {}
    for _ in range(rounds):
        for member in members:
            held[member] = leases.renew(Member("workers", member), LANES, term)
    return held


def test_a_lone_member_holds_everything(leases: Leases) -> None:
    """One process is a whole deployment."""
    assert renewed(leases, "a")["a"] == dict.fromkeys(LANES, 1)
    assert renewed(leases, "a")["a"] == dict.fromkeys(LANES, 1)


def test_members_share_fairly_and_nothing_is_held_twice(leases: Leases) -> None:
    """A newcomer gets its share from those who have more than theirs, the rest stays where it is."""
    renewed(leases, "a")
    held = renewed(leases, "a", "b", "c")
    assert [len(held[member]) for member in "abc"] == [3, 2, 2]
    assert sorted(lane for lanes in held.values() for lane in lanes) == LANES
    assert held["a"] == dict.fromkeys(held["a"], 1)
    assert set(held["b"].values()) == {2}
    assert alive(leases) == {"workers": 3}


def test_more_members_than_resources_leave_some_with_nothing(leases: Leases) -> None:
    """The others stand by; that is not an error."""
    members = [f"member-{number}" for number in range(9)]
    held = renewed(leases, *members)
    assert sorted(len(lanes) for lanes in held.values()) == [0, 0] + [1] * 7
    assert {member.name for member in leases.members() if member.is_standby} == {name for name in held if not held[name]}


def test_who_leaves_frees_its_share_at_once(leases: Leases) -> None:
    """A drained worker must not cost the others a term of waiting."""
    renewed(leases, "a", "b")
    leases.leave("workers", "a")
    leases.leave("workers", "nobody")
    assert sorted(renewed(leases, "b", rounds=1)["b"]) == LANES
    assert alive(leases) == {"workers": 1}


def test_rooms_do_not_know_each_other(leases: Leases) -> None:
    """Projectors and workers may lease things of the same name."""
    renewed(leases, "a")
    assert leases.renew(Member("readmodels", "b"), LANES, 30.0) == dict.fromkeys(LANES, 1)
    assert alive(leases) == {"workers": 1, "readmodels": 1}


def test_the_share_of_a_killed_member_moves_within_two_seconds(leases: Leases) -> None:
    """Commands of its lanes wait that long, no longer; and the epoch tells the new holder's word from the old one's."""
    before = {member: leases.renew(Member("workers", member), LANES, TERM_SECONDS) for member in ("a", "b", "a", "b")}
    killed_at = time.monotonic()
    while len(held := leases.renew(Member("workers", "a"), LANES, TERM_SECONDS)) < len(LANES):
        assert time.monotonic() - killed_at < MOVED_SECONDS_MAX
        time.sleep(RENEW_SECONDS)
    assert time.monotonic() - killed_at > TERM_SECONDS / 2
    assert all(held[lane] == epoch + 1 for lane, epoch in before["b"].items())
    assert all(held[lane] == epoch for lane, epoch in before["a"].items())
    assert alive(leases) == {"workers": 1}


def test_a_lease_that_ran_out_unnoticed_is_renewed_with_its_epoch(leases: Leases) -> None:
    """Nobody else acted in between, so nothing that was prepared under it is out of date."""
    renewed(leases, "a", term=0.05)
    time.sleep(0.1)
    assert leases.members() == []
    assert renewed(leases, "a", rounds=1)["a"] == dict.fromkeys(LANES, 1)


def test_a_sleeper_that_comes_back_finds_its_lanes_taken(leases: Leases) -> None:
    """A worker stopped past its term is told so by its next renewal, and gets a fair share anew."""
    renewed(leases, "a", term=0.05)
    time.sleep(0.1)
    taken = renewed(leases, "b", rounds=1)["b"]
    assert taken == dict.fromkeys(LANES, 2)
    assert renewed(leases, "a", rounds=1)["a"] == {}
    held = renewed(leases, "b", "a")
    assert sorted(len(lanes) for lanes in held.values()) == [3, 4]
    assert set(held["a"].values()) == {3}


def test_resources_that_are_no_longer_asked_for_are_given_up(leases: Leases) -> None:
    """Slices of a view's old generation; and when they are wanted again, their epochs have not started anew."""
    renewed(leases, "a")
    assert leases.renew(Member("workers", "a"), LANES[:2], 30.0) == {LANES[0]: 1, LANES[1]: 1}
    assert leases.renew(Member("workers", "b"), LANES[2:4], 30.0) == {LANES[2]: 2, LANES[3]: 2}


def test_a_resource_is_shared_among_those_who_want_it(leases: Leases) -> None:
    """During a rollout some members know a thing and others do not: what only some can do must not wait for the others."""
    members = [(Member("readmodels", name), LANES[:5] if name in "ab" else LANES[2:]) for name in "abcd"]
    for _ in range(3):
        held = {member.name: leases.renew(member, wanted, 30.0) for member, wanted in members}
    assert sorted(lane for lanes in held.values() for lane in lanes) == LANES
    assert set(held["a"]) | set(held["b"]) >= set(LANES[:2]) and set(held["c"]) | set(held["d"]) >= set(LANES[5:])
    assert all(set(held[member.name]) <= set(wanted) for member, wanted in members)


def test_with_seven_views_and_four_projectors_each_view_is_held_by_one_as_soon_as_all_of_them_can(leases: Leases) -> None:
    """One of an earlier release shares slice by slice, and the others as it does, or slices would be left to nobody."""
    slices = [f"view_{view}/1/{number}" for view in range(7) for number in range(4)]
    earlier = Member("readmodels", "earlier", "0.1.0")
    members = [Member("readmodels", f"m{number}", "0.2.0", frozenset({WHOLE_VIEWS})) for number in range(4)]

    def held(*alive: Member) -> list[list[str]]:
        for _ in range(4):
            shares = [leases.renew(member, slices, 30.0) for member in alive]
        assert sorted(one for share in shares for one in share) == slices
        return [sorted({name.partition("/")[0] for name in share}) for share in shares]

    assert [len(views) for views in held(*members)] == [2, 2, 2, 1]
    held(*members, earlier)
    assert len(leases.renew(earlier, slices, 30.0)) in (5, 6)
    leases.leave("readmodels", "earlier")
    after = held(*members)
    assert sorted(view for views in after for view in views) == [f"view_{number}" for number in range(7)]
    assert [len(views) for views in after] == [2, 2, 2, 1]


def test_a_room_without_resources_has_members_that_do_not_stand_by(leases: Leases) -> None:
    """Gateways hold nothing; what each one is and knows is told to whoever asks."""
    member = Member("gateway", "a", "1.2.3", frozenset({"PlaceOrder", "PlaceOrder.lines.sku"}))
    assert leases.renew(member, [], 30.0) == leases.renew(member, [], 30.0) == {}
    assert [msgspec.structs.replace(one, since=None, last_seen=None) for one in leases.members()] == [member]


def test_what_a_member_wants_anew_is_given_and_what_it_does_not_want_goes_to_others(leases: Leases) -> None:
    """Also when it alone changes its mind, between two renewals at which nothing else happened."""
    renewed(leases, "a", "b", rounds=4)
    for _ in range(2):
        leases.renew(Member("workers", "a"), LANES[1:], 30.0)
        held = leases.renew(Member("workers", "b"), LANES, 30.0)
    assert LANES[0] in held and len(held) in (3, 4)
    given = renewed(leases, "a", "b", rounds=4)
    assert sorted(lane for lanes in given.values() for lane in lanes) == LANES


def test_renewing_at_the_same_time_never_gives_one_resource_to_two(leases: Leases) -> None:
    """Ownership must be settled by the database, not by luck: claims of one instant are compared, not of the whole run."""
    members = [f"member-{number}" for number in range(4)]
    epochs_seen: dict[tuple[str, int], str] = {}
    doubled: list[tuple[str, int]] = []
    guard = threading.Lock()

    def live(member: str) -> None:
        for _ in range(25):
            for lane, epoch in leases.renew(Member("workers", member), LANES, 30.0).items():
                with guard:
                    if epochs_seen.setdefault((lane, epoch), member) != member:
                        doubled.append((lane, epoch))

    threads = [threading.Thread(target=live, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert doubled == []
    assert {lane for lane, _ in epochs_seen} == set(LANES)
    assert sorted(len(lanes) for lanes in renewed(leases, *members).values()) == [1, 2, 2, 2]


def test_who_is_alive_is_shown_with_what_he_holds_and_when_he_was_heard_of(leases: Leases) -> None:
    """Whoever operates it looks for the process that holds what stands still."""
    leases.renew(Member("workers", "host-7-a", "0.2.0"), LANES, 30.0)
    (first,) = leases.members()
    assert (first.host, first.pid, first.holds, first.is_standby) == ("host", 7, tuple(LANES), False)
    assert first.since is not None and first.since == first.last_seen
    time.sleep(0.02)
    leases.renew(Member("workers", "host-7-a", "0.2.0"), LANES, 30.0)
    (again,) = leases.members()
    assert again.since == first.since and again.last_seen is not None and again.last_seen > first.since


def test_what_nobody_wants_any_more_is_not_looked_at(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of all generations that ever were pile up: with 100,000 of them a change took longer than its transaction may."""
    seen: list[set[str]] = []

    def looked_at(
        member: str, wants: Mapping[Sequence[str], Collection[str]], leases: Mapping[str, Lease], is_whole: bool
    ) -> Share:
        seen.append(set(leases))
        return share(member, wants, leases, is_whole)

    monkeypatch.setattr(twofold.eventstore.postgres.leases, "share", looked_at)
    migrate(postgres_url)
    engine = connect(postgres_url, 4, LOG)
    one, other = PostgresLeases(engine), PostgresLeases(engine)
    one.renew(Member("workers", "one"), ["gone-1", "gone-2"], 30.0)
    assert set(one.renew(Member("workers", "one"), LANES, 30.0)) == set(LANES)
    other.renew(Member("workers", "other"), LANES, 30.0)
    assert len(one.renew(Member("workers", "one"), LANES, 30.0)) == 4
    assert len(other.renew(Member("workers", "other"), LANES, 30.0)) == 3
    engine.dispose()
    assert [names - set(LANES) for names in seen] == [set(), {"gone-1", "gone-2"}, *[set()] * (len(seen) - 2)]
