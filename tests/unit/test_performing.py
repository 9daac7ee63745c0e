"""What becomes of a call: its command, another try ever more slowly, or that it was given up; each durable before it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from types import ModuleType
from uuid import UUID

import msgspec
import pytest

from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.effects import AskedCall, Attempt, CallRefused, Effect
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.messages import Command
from twofold.kernel.messages import Event as Fact
from twofold.kernel.process import Process
from twofold.processes import performing
from twofold.processes.breaker import FAILED_CALLS_MAX, REST_SECONDS
from twofold.processes.performing import TAKES_MAX, Performing
from twofold.testing.clock import ManualClock

CALL_ID = "0d6a1f5e-3c0b-5d8e-8f43-000000000001"


class Pay(msgspec.Struct):
    amount: int


class NotePaid(Command, frozen=True):
    till: str
    amount: int


class Paid(Fact, frozen=True):
    amount: int


TILL = Decider[None, NotePaid, Paid](
    name="till",
    key="till",
    commands=(NotePaid,),
    events=(Paid,),
    initial=None,
    decide=lambda state, command: [Paid(command.amount)],
    evolve=lambda state, event: None,
    snapshot_every=0,
)


class Shopping(msgspec.Struct):
    amount: int


SHOPPING = Process[Shopping, Paid](
    name="shopping",
    state=Shopping,
    on=(Paid,),
    key=lambda event: "k1",
    evolve=lambda state, event: Shopping(1),
    react=lambda state, event: [],
)
Performed = Callable[[Pay, Attempt], Command | None]


def domain_with(*effects: object) -> Domain:
    module = ModuleType("tills")
    module.DECIDERS, module.VIEWS, module.PROCESSES, module.EFFECTS = (TILL,), (), (SHOPPING,), effects  # type: ignore[attr-defined]
    return domain_of(module)


def call(number: int = 1, request: bytes = b'{"amount":5}') -> AskedCall:
    asked_at = ManualClock().now()
    return AskedCall(CALL_ID, "pay", "shopping", "k1", msgspec.Raw(request), asked_at, "correlated", "caused", number)


def other(number: int) -> AskedCall:
    return msgspec.structs.replace(call(), call_id=f"another {number}")


class Rig:
    """`sent` are the envelopes that became durable; `outcomes` what was counted."""

    def __init__(self, perform: Performed, deadline_seconds: float = 5.0, tries_max: int = 3) -> None:
        self.sent: list[Envelope] = []
        self.outcomes: list[tuple[str, str]] = []
        self.refusals: list[Unavailable] = []
        self.clock = ManualClock()
        domain = domain_with(Effect("pay", Pay, perform, deadline_seconds, tries_max))
        self.performing = Performing(
            domain,
            Codec(domain),
            self.clock,
            {"PROVIDER": "here"},
            self._send,
            lambda effect, outcome: self.outcomes.append((effect, outcome)),
            self.clock.seconds,
            random.Random(3),
        )

    def _send(self, envelopes: Sequence[Envelope]) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.sent += envelopes


def fails(request: Pay, attempt: Attempt) -> Command | None:
    raise ConnectionError(f"away\0 {attempt.number}")


def test_what_was_learned_is_a_command_with_an_id_made_of_the_calls() -> None:
    """So that a second performance of the same call, after a kill, has no second effect; who asked is carried along."""
    asked: list[tuple[Pay, Attempt]] = []

    def pay(request: Pay, attempt: Attempt) -> Command:
        asked.append((request, attempt))
        return NotePaid("t1", request.amount)

    rig = Rig(pay)
    assert rig.performing.perform(call()) is None
    assert rig.performing.perform(call()) is None
    first, second = rig.sent
    assert (first.stream, first.type, bytes(first.data)) == ("till-t1", "NotePaid", b'{"till":"t1","amount":5}')
    assert (first.principal, first.correlation_id, first.causation_id) == ("effect:pay", "correlated", "caused")
    assert first.command_id == second.command_id and str(UUID(first.command_id)) == first.command_id != CALL_ID
    assert asked[0] == (Pay(5), Attempt(CALL_ID, 1, 5.0, {"PROVIDER": "here"}))
    assert rig.outcomes == [("pay", "succeeded")] * 2


def test_an_effect_that_has_nothing_to_say_says_nothing() -> None:
    rig = Rig(lambda request, attempt: None)
    assert rig.performing.perform(call()) is None
    assert rig.sent == []


def test_a_failure_is_tried_again_ever_more_slowly_and_never_at_the_same_pace() -> None:
    rig = Rig(fails, tries_max=9)
    pauses = []
    for number in range(1, 9):
        left = rig.performing.perform(call(number))
        assert left is not None and left[0] == call(number + 1)
        pauses.append(left[1])
    longest = [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({pause / most for pause, most in zip(pauses, longest, strict=True)}) == 8
    assert rig.sent == [] and rig.outcomes == [("pay", "failed")] * 8


def test_after_the_last_try_the_instance_is_told_what_was_asked_and_why_it_failed() -> None:
    """In the stream of the instance, under an id made of the call: told once, and told again when it was asked again."""
    rig = Rig(fails)
    assert rig.performing.perform(call(3)) is None
    assert rig.performing.perform(call(3)) is None
    later = msgspec.structs.replace(call(3), asked_at=ManualClock().now().replace(hour=13))
    assert rig.performing.perform(later) is None
    first, repeated, again = rig.sent
    assert (first.stream, first.type) == ("process-shopping/k1", "GiveUpCall")
    told = msgspec.json.decode(first.data)
    assert told["request"] == {"amount": 5} and told["call_id"] == CALL_ID and told["effect"] == "pay"
    assert told["error"] == "ConnectionError: away  3"
    assert first.command_id == repeated.command_id != again.command_id
    assert rig.outcomes[:2] == [("pay", "failed"), ("pay", "given_up")]


def test_a_deadline_holds_for_what_never_returns_and_so_many_of_these_end_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves a thread behind; when there are too many of them nobody is asked until one comes back."""
    monkeypatch.setattr(performing, "LEFT_BEHIND_MAX", 2)
    ending = Event()

    def hang(request: Pay, attempt: Attempt) -> None:
        ending.wait(20)

    rig = Rig(hang, deadline_seconds=0.05)
    started = time.monotonic()
    for number in (1, 2):
        assert rig.performing.admits("pay")
        assert rig.performing.perform(call(number)) is not None
    assert time.monotonic() - started < 5
    assert rig.outcomes == [("pay", "timed_out")] * 2
    assert not rig.performing.admits("pay") and rig.performing.is_resting("pay")
    ending.set()
    _until(lambda: rig.performing.admits("pay"))
    assert not rig.performing.is_resting("pay")


def test_a_provider_that_fails_in_a_row_rests_and_then_is_tried_once() -> None:
    rig = Rig(fails, tries_max=50)
    for number in range(FAILED_CALLS_MAX):
        assert rig.performing.admits("pay")
        rig.performing.perform(other(number))
    assert not rig.performing.admits("pay") and rig.performing.is_resting("pay")
    rig.clock.advance(REST_SECONDS)
    assert [rig.performing.admits("pay") for _ in range(2)] == [True, False]


def test_an_answer_is_kept_until_it_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lanes are away: the provider has done it, and is not asked again for that."""
    monkeypatch.setattr(performing, "SEND_SECONDS", 0.01)
    asked: list[int] = []
    rig = Rig(lambda request, attempt: asked.append(1) or NotePaid("t", 1))  # type: ignore[func-returns-value]
    rig.refusals = [Unavailable(Neighbour.LANES), Unavailable(Neighbour.BROKER)]
    assert rig.performing.perform(call()) is None
    assert len(asked) == len(rig.sent) == 1


def test_who_waits_to_send_is_let_go_when_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not done: the call is still in its queue and comes again."""
    rig = Rig(lambda request, attempt: NotePaid("t", 1))
    rig.refusals = [Unavailable(Neighbour.LANES) for _ in range(1_000)]
    raised: list[BaseException] = []

    def perform() -> None:
        try:
            rig.performing.perform(call())
        except Unavailable as error:
            raised.append(error)

    thread = Thread(target=perform)
    thread.start()
    time.sleep(0.05)
    rig.performing.stop()
    thread.join(5)
    assert len(raised) == 1 and rig.sent == []


def test_a_request_that_is_not_of_its_effects_kind_is_given_up_at_once() -> None:
    """Trying again does not change it. A half-open breaker's one try is not lost with it."""
    rig = Rig(fails, tries_max=50)
    for number in range(FAILED_CALLS_MAX):
        rig.performing.perform(other(number))
    rig.clock.advance(REST_SECONDS)
    assert rig.performing.admits("pay")
    assert rig.performing.perform(call(1, b'{"amount":"much"}')) is None
    assert [envelope.type for envelope in rig.sent] == ["GiveUpCall"]
    assert rig.performing.admits("pay")


def test_a_no_is_an_answer_which_is_given_up_at_once_and_opens_no_breaker() -> None:
    """Whoever refuses is there; asking him again changes nothing."""

    def refuse(request: Pay, attempt: Attempt) -> None:
        raise CallRefused("it was voided")

    rig = Rig(refuse)
    for number in range(FAILED_CALLS_MAX + 1):
        assert rig.performing.perform(other(number)) is None
    assert {envelope.type for envelope in rig.sent} == {"GiveUpCall"} and rig.performing.admits("pay")
    assert msgspec.json.decode(rig.sent[0].data)["error"] == "CallRefused: it was voided"


def test_a_call_that_seems_to_end_whoever_performs_it_is_given_up_unperformed() -> None:
    rig = Rig(lambda request, attempt: NotePaid("t", 1))
    assert rig.performing.perform(call(), TAKES_MAX - 1) is None
    assert rig.performing.perform(call(), TAKES_MAX) is None
    assert [envelope.type for envelope in rig.sent] == ["NotePaid", "GiveUpCall"]


def test_an_effect_that_returns_what_is_no_command_of_the_domain_has_failed() -> None:
    class Elsewhere(Command, frozen=True):
        till: str

    for wrong in (Elsewhere("t"), "done", NotePaid("t", "five")):  # type: ignore[arg-type]
        rig = Rig(lambda request, attempt, wrong=wrong: wrong)  # type: ignore[misc]
        left = rig.performing.perform(call())
        assert left is not None and left[0].number == 2 and rig.sent == []


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ((Effect("pay", Pay, fails), Effect("pay", Pay, fails)), "two effects are called 'pay'"),
        ((Effect("pay", dict, fails),), "request is a class derived from msgspec.Struct"),  # type: ignore[type-var,arg-type]
        ((Effect("pay", Pay, None),), "perform is a function"),  # type: ignore[arg-type]
        ((Effect("pay", Pay, fails, deadline_seconds=0),), "deadline_seconds is above 0"),
        ((Effect("pay", Pay, fails, tries_max=0),), "tries_max is a number from 1"),
        ((Effect("pay now", Pay, fails),), "must be at most 40 ASCII letters"),
        (("pay",), "not made by Effect"),
    ],
)
def test_a_domain_says_what_is_wrong_with_its_effects(effects: tuple[object, ...], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        domain_with(*effects)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
