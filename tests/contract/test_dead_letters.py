"""What is dead stays until somebody says what is to become of it: seen as often as one likes, brought back, or given up."""

from __future__ import annotations

import msgspec
import pika
import pytest

from tests.contract.buses import AnyBus, RabbitBus, Seen, envelope, stream_on, until, working
from tests.contract.test_bus import lanes  # noqa: F401
from tests.named import id_of
from twofold.bus.rabbitmq.topology import DELIVERIES_MAX, dead_queue, lane_queue, queues
from twofold.kernel.envelope import encode_batch
from twofold.kernel.letters import DeadLetter

BODIES = [b"one", b"not json", b"[1]", b"one"]
"""None of them can be decoded; one came twice."""


@pytest.fixture
def buried(lanes: AnyBus) -> AnyBus:  # noqa: F811
    with working(lanes.broker(), Seen()):
        until(lambda: put_all(lanes), "the lanes are there")
        until(lambda: lanes.dead() == len(BODIES), "all are dead")
    return lanes


def was_returned(bus: AnyBus) -> bool:
    """Whether the broker has been given back one of the dead letters."""
    if not isinstance(bus, RabbitBus):
        return False
    with pika.BlockingConnection(pika.URLParameters(bus.url)) as connection:
        channel = connection.channel()
        return any([channel.basic_get(dead_queue(bus.prefix))[0].redelivered for _ in range(bus.dead())])


def put_all(bus: AnyBus) -> bool:
    if isinstance(bus, RabbitBus):
        with pika.BlockingConnection(pika.URLParameters(bus.url)) as connection:
            channel = connection.channel()
            for queue, arguments in queues(bus.prefix, range(4)).items():
                channel.queue_declare(queue, durable=True, arguments=arguments)
    for body in BODIES:
        bus.put_raw(1, body)
    return True


def test_letters_are_listed_in_order_however_often_one_looks(buried: AnyBus) -> None:
    """Looking at them must not use them up, nor shuffle them."""
    for _ in range(3):
        found = buried.letters().letters()
        assert [letter.body for letter in found] == [b"one", b"not json", b"[1]"]
        assert len({letter.id for letter in found}) == 3
        assert all(letter.reason and letter.lane.endswith("1") for letter in found)
        assert buried.letters().letters(2) == found[:2]
    assert buried.dead() == len(BODIES)


def test_a_letter_is_taken_out_once_it_was_used_and_not_before(buried: AnyBus) -> None:
    """A replay that fails loses nothing; one that came twice goes once."""
    used: list[DeadLetter] = []

    def fail(letter: DeadLetter) -> None:
        raise ArithmeticError("not now")

    letters = buried.letters()
    one, two, three = letters.letters()
    with pytest.raises(ArithmeticError):
        letters.take_out(one.id, fail)
    assert not was_returned(buried), "newer brokers drop what was returned some twenty times"
    until(lambda: len(buried.letters().letters()) == 3, "it is there again")
    assert letters.take_out(one.id, used.append)
    assert [(letter.id, letter.lane, letter.reason, letter.body) for letter in used] == [(one.id, one.lane, one.reason, one.body)]
    assert not letters.take_out(one.id, used.append) and not letters.take_out("nobody", used.append)
    assert {letter.id for letter in letters.letters()} == {two.id, three.id}
    assert letters.take_out(two.id, used.append) and letters.take_out(three.id, used.append)
    assert letters.letters() == [] and buried.dead() == 0


@pytest.mark.parametrize("command_id", ["first", "", "0198B0E2-7A3F-7C1D-9A55-0123456789AB", "x" * 100_000])
def test_a_command_whose_id_is_no_uuid_is_dead_and_says_why(lanes: AnyBus, command_id: str) -> None:  # noqa: F811
    """No log could note its outcome. Only others than our gateways can have sent it; it holds up nobody."""
    seen = Seen()
    sent = [msgspec.structs.replace(envelope("x", stream_on(1)), command_id=each) for each in (id_of("one"), command_id)]
    with working(lanes.broker(), seen):
        until(lambda: put_all(lanes), "the lanes are there")
        lanes.put_raw(1, encode_batch(sent))
        lanes.put_raw(1, encode_batch([envelope("after", stream_on(1))]))
        until(lambda: seen.ids == ["after"], "the command behind it")
        until(lambda: lanes.dead() == len(BODIES) + 1, "all are dead")
    [letter] = [letter for letter in lanes.letters().letters() if letter.body == encode_batch(sent)]
    assert f"the command id {command_id[:40]!r} is no UUID" in letter.reason


def test_what_was_delivered_too_often_says_so_and_when(broker_url: str, unique: str) -> None:
    """Healthy commands may be in it: their lane and what they are is kept with them."""
    bus = RabbitBus(broker_url, unique)
    body = encode_batch([envelope("a", stream_on(2))])
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        for queue, arguments in queues(unique, range(4)).items():
            arguments = {name: value for name, value in arguments.items() if name != "x-single-active-consumer"}
            channel.queue_declare(queue, durable=True, arguments=arguments)
        bus.put_raw(2, body)
        for _ in range(DELIVERIES_MAX + 1):
            taking = connection.channel()
            taking.basic_get(lane_queue(unique, 2))
            taking.close()
    until(lambda: bus.dead() == 1, "it is dead")
    for _ in range(2):
        [letter] = bus.letters().letters()
        assert (letter.reason, letter.lane, letter.body) == ("delivered too often", lane_queue(unique, 2), body)
        assert letter.died_at is not None and letter.died_at.utcoffset() is not None
    assert dead_queue(unique).startswith(unique)
    bus.close()
