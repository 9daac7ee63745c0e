"""What a gateway remembers and waits for, and how it reads together what waits together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

import twofold.gateway.commands.outcomes
import twofold.gateway.http.threads
from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.threads import BatchLoader, Threads
from twofold.gateway.queries.progress import WOKEN_AT_ONCE, ProgressBoard
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.outcome import Outcome
from twofold.kernel.rows import Progress
from twofold.kernel.view import SliceId

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(command_id: str, status: str = "succeeded", attempt: int = 1) -> Outcome:
    return Outcome(command_id, "Count", "tally-a", status, 1, 1, "f", NOW, NOW, ("Counted",), attempt=attempt)  # type: ignore[arg-type]


def envelope(command_id: str, attempt: int = 1) -> Envelope:
    return Envelope(command_id, "Count", "tally-a", b"{}", "f", NOW, attempt=attempt)  # type: ignore[arg-type]


class Inbox:
    """What a look-up finds, and how often it was asked."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.asked: list[str] = []

    async def look_up(self, command_id: str) -> Outcome | None:
        self.asked.append(command_id)
        return self.outcomes.get(command_id)


async def test_news_wake_everybody_who_waits_for_that_command() -> None:
    board = OutcomeBoard(Inbox().look_up)
    board.accept(envelope("a"))
    waiting = [asyncio.create_task(board.wait("a", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    board.hear([outcome("a")])
    assert [found.command_id for found in await asyncio.gather(*waiting) if found] == ["a"] * 3
    assert not board._waiters


async def test_who_asks_for_rows_is_not_turned_away_the_moment_the_gateway_stops() -> None:
    """He would be refused, milliseconds before the outcome that he asks for is there; whoever is only told of it is not."""
    board = OutcomeBoard(Inbox().look_up)
    board.accept(envelope("a"))
    told = asyncio.create_task(board.wait("a", 5))
    reader, late = (asyncio.create_task(board.wait("a", 5, last_seconds=seconds)) for seconds in (2.0, 0.1))
    await asyncio.sleep(0)
    board.close()
    assert await told is await late is None
    another = asyncio.create_task(board.wait("a", 5, last_seconds=2.0))
    board.hear([outcome("a")])
    assert await reader == await another == outcome("a")


async def test_lost_news_are_found_in_the_inbox_within_a_tick() -> None:
    """A ring may be lost; a command that was decided must not look undecided for longer than a tick."""
    inbox = Inbox()
    board = OutcomeBoard(inbox.look_up)
    board.accept(envelope("a"))
    inbox.outcomes["a"] = outcome("a")
    started = asyncio.get_running_loop().time()
    assert await board.wait("a", 5) == outcome("a")
    assert asyncio.get_running_loop().time() - started < 2 * twofold.gateway.commands.outcomes.TICK_SECONDS
    assert board.outcome("a") and not board.accepted("a")


async def test_a_command_of_another_gateway_is_looked_up_at_once() -> None:
    inbox = Inbox()
    inbox.outcomes["b"] = outcome("b")
    assert await OutcomeBoard(inbox.look_up).wait("b", 0) == outcome("b")


async def test_waiting_ends_when_the_time_is_up() -> None:
    board = OutcomeBoard(Inbox().look_up)
    board.accept(envelope("a"))
    assert await board.wait("a", 0.05) is None
    assert not board._waiters


async def test_an_outcome_that_is_faster_than_its_acceptance_is_not_forgotten() -> None:
    board = OutcomeBoard(Inbox().look_up)
    board.hear([outcome("a")])
    board.accept(envelope("a"))
    assert board.accepted("a") is None


async def test_the_outcome_of_a_parked_attempt_does_not_answer_for_the_next_one() -> None:
    """Whoever waits after a retry wants to know what became of the retry."""
    inbox = Inbox()
    board = OutcomeBoard(inbox.look_up)
    board.hear([outcome("a", "parked")])
    board.accept(envelope("a", attempt=2))
    inbox.outcomes["a"] = outcome("a", "parked")
    assert await board.wait("a", 0.4) is None
    inbox.outcomes["a"] = outcome("a", attempt=2)
    assert await board.wait("a", 5) == outcome("a", attempt=2)


async def test_a_parked_outcome_in_memory_is_looked_up_again() -> None:
    """Another gateway may have had it retried, and its news may have been lost."""
    inbox = Inbox()
    board = OutcomeBoard(inbox.look_up)
    board.hear([outcome("a", "parked")])
    inbox.outcomes["a"] = outcome("a", attempt=2)
    assert await board.find("a") == outcome("a", attempt=2)


async def test_memory_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.commands.outcomes, "REMEMBERED_MAX", 3)
    board = OutcomeBoard(Inbox().look_up)
    board.hear([outcome(name) for name in "abcde"])
    for name in "vwxyz":
        board.accept(envelope(name))
    assert [name for name in "abcde" if board.outcome(name)] == ["c", "d", "e"]
    assert [name for name in "vwxyz" if board.accepted(name)] == ["x", "y", "z"]


async def test_a_slice_that_is_heard_to_be_there_is_not_waited_for() -> None:
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5, SliceId("v", 1, 1): 9})
    async with asyncio.timeout(1):
        await board.reached("v", 0, 5, 30)
        await board.reached("v", 1, 9, 30)
    assert board.position("v", None) == 5


async def test_progress_wakes_only_who_waits_for_that_slice_and_position() -> None:
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5, SliceId("v", 1, 1): 5})
    early, late = (asyncio.create_task(board.reached("v", 0, position, 30)) for position in (6, 9))
    await asyncio.sleep(0)
    board.hear_progress([Progress("v", 1, 1, 100), Progress("v", 1, 0, 7)])
    await asyncio.wait_for(early, 1)
    assert not late.done()
    board.hear_progress([Progress("v", 1, 0, 9)])
    await asyncio.wait_for(late, 1)


async def test_a_new_generation_starts_from_nothing_and_the_old_one_is_not_heard_any_more() -> None:
    """After a rebuild, positions of the replaced rows would make hints out of nothing."""
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 50})
    board.hear_progress([Progress("v", 2, 0, 3), Progress("v", 1, 0, 60)])
    assert board.position("v", 0) == 60, "what is being built is nobody's answer yet"
    board.learn_positions({SliceId("v", 2, 0): 40, SliceId("v", 2, 1): 41})
    board.hear_progress([Progress("v", 2, 0, 43), Progress("v", 1, 0, 70)])
    assert board.position("v", 0) == 43
    assert board.slice_number("v", "key") is not None


class Store:
    """Blocks its first call until told; remembers what each call asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()

    def read(self, keys: list[str]) -> Mapping[str, str]:
        self.calls.append(sorted(keys))
        assert self.gate.wait(5)
        return {key: key.upper() for key in keys if key != "none"}


async def test_what_waits_together_is_read_together_and_nothing_is_read_twice() -> None:
    store, threads = Store(), Threads(4)
    loader = BatchLoader(threads, store.read)
    first = [asyncio.create_task(loader.load(key)) for key in ("a", "b", "a", "none")]
    await asyncio.sleep(0.05)
    later = [asyncio.create_task(loader.load(key)) for key in ("c", "d")]
    await asyncio.sleep(0.05)
    last = [asyncio.create_task(loader.load(key)) for key in ("e", "a", "f")]
    await asyncio.sleep(0.05)
    assert store.calls == [["a", "b", "none"], ["c", "d"]], "at most two calls at a time"
    store.gate.set()
    assert await asyncio.gather(*first) == ["A", "B", "A", None]
    assert await asyncio.gather(*later, *last) == ["C", "D", "E", "A", "F"]
    assert store.calls[2:] == [["a", "e", "f"]], "an answer that was under way already is too old for who came later"
    threads.close()


async def test_a_failed_read_fails_for_everybody_in_its_batch_and_for_nobody_later() -> None:
    class Broken:
        is_broken = True

        def read(self, keys: list[str]) -> Mapping[str, str]:
            if self.is_broken:
                raise Unavailable(Neighbour.ROWS)
            return dict.fromkeys(keys, "fine")

    store, threads = Broken(), Threads(2)
    loader = BatchLoader(threads, store.read)
    answers = await asyncio.gather(loader.load("a"), loader.load("b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    store.is_broken = False
    assert await loader.load("a") == "fine"
    threads.close()


async def test_what_is_read_apart_fails_alone_and_as_many_at_a_time_as_there_are_threads() -> None:
    """What takes long for one key, or has a bug there, is nothing to who asks for another."""

    class Picky(Store):
        def read(self, keys: list[str]) -> Mapping[str, str]:
            if keys == ["bad"]:
                raise Unavailable(Neighbour.ROWS)
            return super().read(keys)

    store, threads = Picky(), Threads(3)
    loader = BatchLoader(threads, store.read, is_apart=True)
    asked = [asyncio.create_task(loader.load(key)) for key in ("a", "b", "a", "bad", "c", "d")]
    await asyncio.sleep(0.05)
    assert sorted(store.calls) == [["a"], ["b"], ["c"]], "three threads, and one call for both who asked for the same"
    store.gate.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found.pop(3), Unavailable) and found == ["A", "B", "A", "C", "D"]
    threads.close()


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    store, threads = Store(), Threads(2)
    loader = BatchLoader(threads, store.read)
    impatient, patient = (asyncio.create_task(loader.load("a")) for _ in range(2))
    await asyncio.sleep(0.05)
    impatient.cancel()
    store.gate.set()
    assert await patient == "A"
    threads.close()


async def test_too_many_waiting_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.http.threads, "PENDING_MAX", 2)
    store, threads = Store(), Threads(1)
    waiting = [asyncio.create_task(threads.run(lambda: store.read(["a"]))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await threads.run(lambda: store.read(["b"]))
    store.gate.set()
    await asyncio.gather(*waiting)
    threads.close()


async def test_a_view_that_was_behind_for_a_moment_shows_it_for_a_span_and_no_longer() -> None:
    """Looked at twice a second, a view that is quick would otherwise look as if nothing ever happened."""
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5, SliceId("v", 1, 1): 7})
    board.hear_ring(12)
    board.hear_progress([Progress("v", 1, 0, 12), Progress("v", 1, 1, 12)])
    now = asyncio.get_running_loop().time()
    assert board.peaks.peaks(now) == {"v": 7}
    assert board.peaks.peaks(now + 0.5) == {"v": 7}
    assert board.peaks.peaks(now + 1.5) == {}


async def test_who_waits_for_the_log_to_grow_waits_until_it_has_or_the_time_is_up() -> None:
    """An event stream at the head that did not wait would ask the log again and again."""
    board = ProgressBoard()
    board.hear_ring(5)
    await asyncio.wait_for(board.grown(4, 60), 5)
    waiting = asyncio.create_task(board.grown(5, 60))
    for _ in range(5):
        await asyncio.sleep(0)
    board.hear_ring(5)
    await asyncio.sleep(0)
    assert not waiting.done()
    board.hear_ring(6)
    await asyncio.wait_for(waiting, 5)
    begun = asyncio.get_running_loop().time()
    await board.grown(6, 0.05)
    assert asyncio.get_running_loop().time() - begun >= 0.04
    assert len(board._grown) == 0, "nobody is remembered who has gone"


async def test_thousands_who_wait_cost_those_who_are_due_nothing_and_are_forgotten() -> None:
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5, SliceId("v", 1, 1): 7})
    due = [asyncio.create_task(board.reached("v", 0, 6, 60)) for _ in range(100)]
    slowest = asyncio.create_task(board.reached("v", None, 8, 60))
    late = [asyncio.create_task(board.reached("v", 0, 1_000, 60)) for _ in range(5_000)]
    await asyncio.sleep(0)
    assert board.waiter_count == 5_101
    board.hear_progress([Progress("v", 1, 1, 9), Progress("v", 1, 0, 6)])
    await asyncio.gather(*due)
    assert not slowest.done() and board.waiter_count == 5_001
    board.hear_progress([Progress("v", 1, 0, 8)])
    await slowest
    for waiter in late:
        waiter.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    assert board.waiter_count == 0 and len(board._waiters["v", 0]._heap) < 100
    moves = board.moves("v")
    moved = asyncio.create_task(board.moved("v", moves, 60))
    await asyncio.sleep(0)
    board.hear_progress([Progress("v", 1, 1, 9)])
    await asyncio.wait_for(moved, 5)


@pytest.mark.parametrize("is_reached", [True, False])
async def test_thousands_who_are_due_together_let_others_in_between(is_reached: bool) -> None:
    """Reached by all at once, or given up by all at once: what is ready on the loop beside them goes on after a few of them."""
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5})
    due = [asyncio.create_task(board.reached("v", 0, 6, 60 if is_reached else 0.05)) for _ in range(5_000)]
    await asyncio.sleep(0)
    if is_reached:
        board.hear_progress([Progress("v", 1, 0, 6)])
    most = before = 0
    async with asyncio.timeout(10):
        while before < len(due):
            await asyncio.sleep(0)
            done = sum(task.done() for task in due)
            most, before = max(most, done - before), done
    assert most <= 2 * WOKEN_AT_ONCE
    assert board.waiter_count == 0


async def test_who_waits_for_a_view_that_is_rebuilt_asks_again_at_once() -> None:
    """His row may be in another slice now; nothing will be heard of the one he waits for."""
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5, SliceId("w", 1, 0): 5})
    waiting, other = (asyncio.create_task(board.reached(view, 0, 9, 60)) for view in "vw")
    await asyncio.sleep(0)
    board.learn_positions({SliceId("v", 2, 0): 3, SliceId("v", 2, 1): 3, SliceId("w", 1, 0): 5})
    await asyncio.wait_for(waiting, 5)
    assert not other.done()
    other.cancel()


async def test_who_waits_looks_how_long_he_may_when_the_gateway_is_told_to_stop() -> None:
    board = ProgressBoard()
    board.learn_positions({SliceId("v", 1, 0): 5})
    waiting = [asyncio.create_task(board.reached("v", number, 9, 60)) for number in (0, None)]
    await asyncio.sleep(0)
    board.close()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert board.closed_at <= asyncio.get_running_loop().time()
