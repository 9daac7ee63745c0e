"""One entrance for commands: once each, whoever brings them again, and a verdict on each that spoils no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any

import pytest

import examples.counter
from twofold.gateway.commands.admission import Admission, Verdict
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.threads import Threads
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import command_id_for, is_made_of_key, new_command_id
from twofold.kernel.outcome import Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Queue:
    """What was put, in order; each is durable, or not, when the test says so."""

    def __init__(self) -> None:
        self.put_envelopes: list[Envelope] = []
        self.futures: list[asyncio.Future[None]] = []
        self.is_open = True
        self.is_instant = True

    def put(self, envelope: Envelope) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put_envelopes.append(envelope)
        self.futures.append(future)
        if self.is_instant:
            future.set_result(None)
        return future

    def refusal(self) -> Unavailable | None:
        return None if self.is_open else Unavailable(Neighbour.LANES, "closing")


class Log:
    """Inbox and history. Remembers what it was asked."""

    def __init__(self) -> None:
        self.decided: dict[str, Outcome] = {}
        self.versions: dict[str, int] = {}
        self.looked_up: list[list[str]] = []
        self.versions_asked: list[str] = []

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        self.looked_up.append(list(command_ids))
        return {name: self.decided[name] for name in command_ids if name in self.decided}

    def version(self, stream: str) -> int:
        self.versions_asked.append(stream)
        return self.versions.get(stream, 0)


class Room:
    def __init__(self, threads: Threads) -> None:
        self.queue, self.log = Queue(), Log()
        self.board = OutcomeBoard(self.look_up)
        self.admission = Admission(Codec(domain_of(examples.counter)), self.queue, self.log, self.log, self.board, threads)  # type: ignore[arg-type]

    async def look_up(self, command_id: str) -> Outcome | None:
        return self.log.outcomes([command_id]).get(command_id)

    async def admit(self, *envelopes: Envelope) -> list[Verdict]:
        async with asyncio.timeout(5):
            return await self.admission.admit(envelopes)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    threads = Threads(2)
    yield Room(threads)
    threads.close()


def envelope(key: str | None = None, body: str = "f", **fields: Any) -> Envelope:
    command_id = new_command_id() if key is None else command_id_for("anonymous", key)
    return Envelope(command_id, "Count", fields.pop("stream", "tally-a"), b"{}", body, NOW, **fields)  # type: ignore[arg-type]


def outcome_of(envelope: Envelope, status: str = "succeeded") -> Outcome:
    name, attempt = envelope.command_id, envelope.attempt
    return Outcome(name, "Count", envelope.stream, status, 1, 1, envelope.fingerprint, NOW, NOW, attempt=attempt)  # type: ignore[arg-type]


def type_of(verdict: Verdict) -> str | None:
    return verdict.type.name if isinstance(verdict, Problem) else None


async def test_a_command_without_a_key_asks_nobody_and_is_remembered(room: Room) -> None:
    """The hot path: one put, and no look-up, whatever else the entrance can do."""
    one = envelope()
    assert await room.admit(one) == [None]
    await asyncio.sleep(0)
    assert (room.log.looked_up, room.log.versions_asked) == ([], [])
    assert (room.admission.accepted_count, room.board.accepted(one.command_id) is not None) == (1, True)


async def test_a_key_is_looked_up_and_lets_its_command_in_once(room: Room) -> None:
    for _ in range(3):
        assert await room.admit(envelope("k")) == [None]
        await asyncio.sleep(0)
    decided = envelope("decided")
    room.log.decided[decided.command_id] = outcome_of(decided)
    assert await room.admit(decided) == [None]
    assert len(room.queue.put_envelopes) == 1


async def test_whoever_comes_with_the_same_key_waits_for_the_same_put_and_does_not_end_it_by_leaving(room: Room) -> None:
    room.queue.is_instant = False
    impatient, patient = (asyncio.create_task(room.admit(envelope("k"))) for _ in range(2))
    await asyncio.sleep(0.05)
    impatient.cancel()
    await asyncio.sleep(0)
    (future,) = room.queue.futures
    assert not future.cancelled()
    future.set_result(None)
    assert await patient == [None]


async def test_another_body_under_a_key_is_refused_entering_accepted_or_decided(room: Room) -> None:
    room.queue.is_instant = False
    entering = asyncio.create_task(room.admit(envelope("k")))
    await asyncio.sleep(0.05)
    assert [type_of(one) for one in await room.admit(envelope("k", "other"))] == ["key-reused"]
    room.queue.futures[0].set_result(None)
    assert await entering == [None]
    await asyncio.sleep(0)
    assert [type_of(one) for one in await room.admit(envelope("k", "other"))] == ["key-reused"]
    decided = envelope("decided")
    room.log.decided[decided.command_id] = outcome_of(decided)
    assert [type_of(one) for one in await room.admit(envelope("decided", "other"))] == ["key-reused"]
    assert len(room.queue.put_envelopes) == 1


async def test_each_of_many_gets_its_own_verdict_and_the_rest_keep_their_order(room: Room) -> None:
    room.log.versions["tally-b"] = 7
    known = envelope("known")
    room.log.decided[known.command_id] = outcome_of(known)
    sent = [
        envelope(),
        known,
        envelope("known", "other"),
        envelope(stream="tally-b", expected_version=6),
        envelope(stream="tally-b", expected_version=7),
        envelope("new"),
        envelope("new"),
    ]
    verdicts = await room.admit(*sent)
    assert [type_of(verdict) for verdict in verdicts] == [None, None, "key-reused", "stream-moved", None, None, None]
    assert room.queue.put_envelopes == [sent[0], sent[4], sent[5]]
    assert len(room.log.looked_up) == 1, "many keys are one look-up"
    assert room.log.versions_asked == ["tally-b"]


async def test_a_put_that_fails_is_the_verdict_of_its_own_command_alone(room: Room) -> None:
    room.queue.is_instant = False
    sent = [envelope() for _ in range(3)]
    admitted = asyncio.create_task(room.admit(*sent))
    await asyncio.sleep(0.05)
    room.queue.futures[2].set_result(None)
    room.queue.futures[1].set_exception(Unavailable(Neighbour.LANES, "not durable in time"))
    room.queue.futures[0].set_result(None)
    verdicts = await admitted
    assert [type(verdict) for verdict in verdicts] == [type(None), Unavailable, type(None)]
    assert room.board.accepted(sent[1].command_id) is None
    assert room.admission.accepted_count == 2


async def test_a_parked_command_is_let_in_again_one_attempt_further_and_that_once(room: Room) -> None:
    """Two operators press the same button; and the version it was sent with is an outcome's business now."""
    parked = envelope("k", expected_version=3)
    room.log.decided[parked.command_id] = outcome_of(parked, "parked")
    again = envelope("k", expected_version=3, attempt=2)
    assert await room.admit(parked) == [None]
    assert room.queue.put_envelopes == []
    assert await room.admit(again) == [None]
    await asyncio.sleep(0)
    assert await room.admit(again) == [None]
    assert (room.queue.put_envelopes, room.log.versions_asked) == ([again], [])


async def test_nothing_is_let_in_while_the_lanes_are_not_ready(room: Room) -> None:
    room.queue.is_open = False
    for sent in ((), (envelope(),), (envelope("k"), envelope())):
        with pytest.raises(Unavailable) as refused:
            await room.admit(*sent)
        assert refused.value.neighbour is Neighbour.LANES
    assert (room.queue.put_envelopes, room.log.looked_up) == ([], [])


def test_an_id_tells_whether_it_is_made_of_a_key() -> None:
    assert is_made_of_key(command_id_for("anonymous", "k"))
    assert not is_made_of_key(new_command_id())


async def test_who_repeats_a_command_that_has_just_moved_its_stream_is_not_told_that_it_moved(room: Room) -> None:
    """The same key, body and If-Match at another gateway: what moved the stream between two looks was this very command."""
    one = envelope("k", expected_version=0)
    version = room.log.version

    def moved_meanwhile(stream: str) -> int:
        room.log.decided[one.command_id] = outcome_of(one)
        room.log.versions[stream] = 1
        return version(stream)

    room.log.version = moved_meanwhile  # type: ignore[method-assign]
    assert await room.admit(one) == [None]
    assert room.queue.put_envelopes == []


async def test_who_repeats_it_with_another_body_is_told_so(room: Room) -> None:
    one, other = envelope("k", "f", expected_version=0), envelope("k", "g", expected_version=0)

    def moved_meanwhile(stream: str) -> int:
        room.log.decided[one.command_id] = outcome_of(one)
        return 1

    room.log.version = moved_meanwhile  # type: ignore[method-assign]
    assert [type_of(verdict) for verdict in await room.admit(other)] == ["key-reused"]


async def test_a_bug_on_the_way_of_one_is_loud_and_lets_the_others_in_first(room: Room) -> None:
    room.queue.is_instant = False
    several = [envelope() for _ in range(3)]
    admitting = asyncio.create_task(room.admit(*several))
    await asyncio.sleep(0)
    room.queue.futures[0].set_exception(TypeError("a bug"))
    await asyncio.sleep(0)
    assert not admitting.done()
    for future in room.queue.futures[1:]:
        future.set_result(None)
    with pytest.raises(TypeError):
        await admitting
    assert room.admission.accepted_count == 2


async def test_who_gives_up_waiting_does_not_undo_what_was_let_in(room: Room) -> None:
    """With or without a key: the command is in its lane, and will be decided."""
    for key in (None, "k"):
        room.queue.is_instant = False
        one = envelope(key)
        admitting = asyncio.create_task(room.admit(one))
        await asyncio.sleep(0.05)
        admitting.cancel()
        await asyncio.gather(admitting, return_exceptions=True)
        room.queue.futures[-1].set_result(None)
        await asyncio.sleep(0)
        assert room.board.accepted(one.command_id) is not None
