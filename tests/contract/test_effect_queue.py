"""What the queue of effects promises, embedded and served: calls are durable, come back, wait their time, and keep apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import msgspec
import pytest

from tests.contract.buses import Proxy, until
from tests.contract.callqueues import (
    EFFECTS,
    THREADS,
    AnyCallQueue,
    EmbeddedCallQueue,
    Left,
    RabbitCallQueue,
    Seen,
    call,
    clean_effects,
    performing,
)
from twofold.bus.effects.dispatch import EffectBroker
from twofold.bus.effects.rabbitmq import RabbitEffects
from twofold.kernel.effects import AskedCall
from twofold.kernel.errors import Unavailable

DELAY_SECONDS = 1.5


@pytest.fixture(params=["embedded", "rabbit"])
def queue(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[AnyCallQueue]:
    made: AnyCallQueue
    if request.param == "embedded":
        made = EmbeddedCallQueue(tmp_path / "log.db")
    else:
        made = RabbitCallQueue(request.getfixturevalue("broker_url"), unique)
    yield made
    made.close()


def test_every_call_that_was_put_is_performed_by_the_actor_of_its_effect(queue: AnyCallQueue) -> None:
    """Whatever stands in the queue when somebody comes to perform it, and whatever comes later; and then it is gone."""
    broker, seen = queue.broker(), Seen()
    broker.put([call(f"before {number}") for number in range(50)])
    with performing(broker, seen):
        broker.put([call(f"after {number}", "mail") for number in range(50)])
        until(lambda: len(seen.calls) >= 100, "every call")
        until(lambda: queue.waiting() == 0, "an empty queue")
    assert len(seen.names) == len(set(seen.names)) == 100
    assert {one.effect for one in seen.calls} == set(EFFECTS)
    assert next(one for one in seen.calls if one.call_id == "before 0") == call("before 0")


def test_a_delayed_call_waits_its_time_and_holds_nobody_up(queue: AnyCallQueue) -> None:
    """Neither those that are due at once, nor those with a shorter delay that were put behind it."""
    broker, seen = queue.broker(), Seen()
    with performing(broker, seen):
        put_at = time.monotonic()
        broker.put([call("latest")], 30.0)
        broker.put([call("late")], DELAY_SECONDS)
        broker.put([call("now")])
        until(lambda: len(seen.calls) >= 2, "those that are due")
    assert seen.names == ["now", "late"]
    assert DELAY_SECONDS <= seen.at[1] - put_at < DELAY_SECONDS + 3.0


def test_what_is_left_of_a_call_comes_again_when_it_said(queue: AnyCallQueue) -> None:
    """Another try is another message, durable before the first one is gone; how many there were is in it."""

    def left(one: AskedCall) -> Left:
        return None if one.number == 3 else (msgspec.structs.replace(one, number=one.number + 1), 0.3)

    seen = Seen(left)
    broker = queue.broker()
    with performing(broker, seen):
        broker.put([call("a")])
        until(lambda: len(seen.calls) >= 3, "the third try")
        until(lambda: queue.waiting() == 0, "an empty queue")
    assert [one.number for one in seen.calls] == [1, 2, 3]
    assert min(later - sooner for sooner, later in zip(seen.at, seen.at[1:], strict=False)) >= 0.3


def test_calls_that_wait_survive_a_restart_with_their_delay(tmp_path: Path) -> None:
    """Embedded: the due time is in the file."""
    first = EmbeddedCallQueue(tmp_path / "log.db")
    first.broker().put([call("late")], DELAY_SECONDS)
    put_at = time.monotonic()
    first.close()
    second, seen = EmbeddedCallQueue(tmp_path / "log.db"), Seen()
    with performing(second.broker(), seen):
        until(lambda: seen.calls, "the call")
    assert seen.at[0] - put_at >= DELAY_SECONDS - 0.1
    second.close()


def test_a_call_that_can_neither_be_finished_nor_put_back_is_tried_again(queue: AnyCallQueue) -> None:
    """The broker or the log is away just then: it is not acknowledged, and not lost."""
    failures = iter([Unavailable, RuntimeError])

    def left(one: AskedCall) -> Left:
        for failure in failures:
            raise failure("log")
        return None

    seen = Seen(left)
    broker = queue.broker()
    with performing(broker, seen):
        broker.put([call("a")])
        until(lambda: len(seen.calls) == 3, "two tries in place")
        until(lambda: queue.waiting() == 0, "an empty queue")
    assert [one.number for one in seen.calls] == [1, 1, 1]


def test_an_effect_that_is_not_admitted_keeps_its_calls_waiting_and_no_other_ones(queue: AnyCallQueue) -> None:
    open_effects = {"mail"}
    broker, seen = queue.broker(), Seen()
    with performing(broker, seen, lambda effect: effect in open_effects):
        broker.put([call(f"pay {number}") for number in range(20)])
        broker.put([call("mail", "mail")])
        until(lambda: seen.calls, "the other effect")
        time.sleep(0.6)
        assert seen.names == ["mail"]
        open_effects.add("pay")
        until(lambda: len(seen.calls) == 21, "those that waited")
    assert len(set(seen.names)) == 21


def test_an_effect_that_hangs_takes_half_of_the_threads(queue: AnyCallQueue) -> None:
    """And only so many calls out of the queue: others may perform them."""
    hanging = Event()

    def left(one: AskedCall) -> Left:
        if one.effect == "pay":
            hanging.wait(20)
        return None

    seen = Seen(left)
    broker = queue.broker()
    with performing(broker, seen):
        broker.put([call(f"pay {number}") for number in range(30)])
        until(lambda: len(seen.calls) == THREADS // 2, "half of the threads")
        broker.put([call(f"mail {number}", "mail") for number in range(10)])
        until(lambda: len(seen.calls) == THREADS // 2 + 10, "the other effect")
        hanging.set()
        until(lambda: len(set(seen.names)) == 40, "everything")


def test_what_is_no_call_goes_to_the_dead_letters_and_holds_nobody_up(queue: AnyCallQueue) -> None:
    """Where `twofold dead` shows it, with the queue it died in and why."""
    broker, seen = queue.broker(), Seen()
    broker.put([call("first")])
    queue.put_raw("pay", b"{not json")
    queue.put_raw("pay", b'{"call_id": "other", "effect": "mail", "process": "p", "key": "k", "request": {}}')
    broker.put([call("last")])
    with performing(broker, seen):
        until(lambda: {"first", "last"} <= set(seen.names), "the calls around it")
        until(lambda: len(queue.letters().letters()) == 2, "both dead letters")
    letters = queue.letters().letters()
    assert {letter.lane.endswith("effect.pay") for letter in letters} == {True}
    [said] = [letter.reason for letter in letters if b"not json" in letter.body]
    assert "JSON is malformed" in said


def test_a_connection_that_is_cut_loses_no_call_and_settles_no_other_one(broker_url: str, unique: str) -> None:
    """Numbers of deliveries begin anew on a new channel: what was under way must not acknowledge whoever has its number now."""
    proxy = Proxy(broker_url)
    broker = RabbitEffects(proxy.url, unique, EFFECTS)
    going = Event()

    def left(one: AskedCall) -> Left:
        if not going.is_set():
            going.wait(20)
        time.sleep(0.01)
        return None

    seen = Seen(left)
    try:
        broker.put([call(f"{number}") for number in range(40)])
        with performing(broker, seen):
            until(lambda: len(seen.calls) == THREADS // 2, "calls under way")
            proxy.cut()
            time.sleep(0.5)
            going.set()
            until(lambda: len(set(seen.names)) == 40, "every call")
    finally:
        broker.close()
        proxy.close()
        clean_effects(broker_url, unique, EFFECTS)


def test_putting_says_so_when_the_broker_is_away(unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is durable that was not confirmed; whoever put it puts it again."""
    monkeypatch.setattr("twofold.bus.effects.publisher.CONNECT_SECONDS_MAX", 0.3)
    broker = RabbitEffects("amqp://guest:guest@127.0.0.1:1/", unique, EFFECTS)
    with pytest.raises(Unavailable):
        broker.put([call("a")])
    broker.close()


def test_a_queue_that_was_deleted_is_declared_again(broker_url: str, unique: str) -> None:
    """A message that comes back is not confirmed, and the next one finds its queue."""
    queue = RabbitCallQueue(broker_url, unique)
    broker, seen = queue.broker(), Seen()
    broker.put([call("lost")])
    clean_effects(broker_url, unique, EFFECTS)
    with pytest.raises(Unavailable):
        broker.put([call("a")])
    until(lambda: _is_put(queue, broker), "another queue")
    with performing(queue.broker(), seen):
        until(lambda: seen.calls, "the call")
    assert set(seen.names) == {"a"}
    queue.close()


def _is_put(queue: RabbitCallQueue, broker: EffectBroker) -> bool:
    try:
        broker.put([call("a")])
    except Unavailable:
        return False
    return True
