"""Performs calls to the outside: which effect, within its deadline, and what came of it as a command.

    call ── perform ──> answered ──> its command, durable in a lane ──> done
                └── failed, or no answer in time ──> another try, later; after the last one GiveUpCall, durable ──> done

May be repeated from any point: `perform` is asked under the same key again, its command has an id made of the call's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Literal

import msgspec
import structlog

from twofold.kernel.backoff import Backoff
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.effects import AnyEffect, AskedCall, Attempt, CallRefused
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import BUGS, Unavailable
from twofold.kernel.messages import Command
from twofold.kernel.ports import Clock
from twofold.kernel.process import GiveUpCall
from twofold.processes.bounded import BoundedThreads, NoAnswer
from twofold.processes.breaker import Breaker
from twofold.processes.enveloped import answer_id, enveloped, given_up_id

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 60.0
"""Before the second try, and before any: doubled each time, and taken at random between half of it and all."""
LEFT_BEHIND_MAX = 16
"""So many threads of one effect may be left behind without an end; then it is not asked any more until one comes back."""
TAKES_MAX = 20
"""A call that was taken so often by somebody who did not finish it is taken to be what ends them."""
SEND_SECONDS, SEND_SECONDS_MAX = 0.1, 2.0
ERROR_CHARS_MAX = 500

Send = Callable[[Sequence[Envelope]], None]
"""Returns when they are durable. Raises Unavailable when they may not be."""
TryOutcome = Literal["succeeded", "failed", "timed_out", "given_up"]
OnOutcome = Callable[[str, TryOutcome], None]


class Performing:
    """Of one process. Thread-safe."""

    def __init__(
        self,
        domain: Domain,
        codec: Codec,
        clock: Clock,
        settings: Mapping[str, str],
        send: Send,
        on_outcome: OnOutcome = lambda effect, outcome: None,
        monotonic: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self._domain = domain
        self._codec = codec
        self._clock = clock
        self._settings = settings
        self._send = send
        self._on_outcome = on_outcome
        self._dice = dice or random.Random()
        self._threads = BoundedThreads()
        self._breakers = {name: Breaker(monotonic) for name in domain.effects}
        self._requests = {name: msgspec.json.Decoder(effect.request) for name, effect in domain.effects.items()}
        self._stopped = Event()

    def admits(self, effect: str) -> bool:
        """Whether a call of this effect may be performed now; if so, it has to be."""
        return self._threads.left_behind(effect) < LEFT_BEHIND_MAX and self._breakers[effect].admits()

    def is_resting(self, effect: str) -> bool:
        return self._breakers[effect].is_open or self._threads.left_behind(effect) >= LEFT_BEHIND_MAX

    def perform(self, call: AskedCall, takes: int = 0) -> tuple[AskedCall, float] | None:
        """One try. What is left to do: the call, and in how many seconds; None when nothing is. Raises Unavailable when told to
        stop before what came of it could be sent."""
        breaker = self._breakers[call.effect]
        try:
            request = self._requests[call.effect].decode(call.request)
        except msgspec.MsgspecError as error:
            breaker.not_asked()
            self._give_up(call, f"the request cannot be read: {error}")
            return None
        if takes >= TAKES_MAX:
            breaker.not_asked()
            self._give_up(call, f"taken {takes} times by processes that ended, or lost the broker, before it was finished")
            return None
        effect = self._domain.effects[call.effect]
        try:
            answered = self._threads.run(effect.name, lambda: self._answer(effect, request, call), effect.deadline_seconds)
        except CallRefused as error:
            breaker.succeeded()
            self._on_outcome(effect.name, "failed")
            self._give_up(call, _said(error))
            return None
        except BUGS as error:
            outcome: TryOutcome = "timed_out" if isinstance(error, NoAnswer) else "failed"
            self._on_outcome(effect.name, outcome)
            if breaker.failed(call.call_id):
                structlog.get_logger().warning("effect rests", effect=effect.name, outcome=outcome, error=type(error).__name__)
            if call.number >= effect.tries_max:
                self._give_up(call, _said(error))
                return None
            return msgspec.structs.replace(call, number=call.number + 1), self._pause_seconds(call.number)
        breaker.succeeded()
        if answered is not None:
            self._send_durably(answered)
        self._on_outcome(effect.name, "succeeded")
        return None

    def stop(self) -> None:
        """Whoever waits until something can be sent waits no more."""
        self._stopped.set()

    def _answer(self, effect: AnyEffect, request: msgspec.Struct, call: AskedCall) -> Envelope | None:
        command = effect.perform(request, Attempt(call.call_id, call.number, effect.deadline_seconds, self._settings))
        return None if command is None else self._enveloped(call, command, answer_id(call.call_id))

    def _give_up(self, call: AskedCall, error: str) -> None:
        instance, request = f"{call.process}/{call.key}", msgspec.json.decode(call.request)
        told = GiveUpCall(instance, call.process, call.key, call.call_id, call.effect, request, error)
        self._send_durably(self._enveloped(call, told, given_up_id(call.call_id, call.asked_at)))
        self._on_outcome(call.effect, "given_up")
        structlog.get_logger().error("call given up", effect=call.effect, instance=instance, call=call.call_id)

    def _enveloped(self, call: AskedCall, command: Command, command_id: str) -> Envelope:
        return enveloped(
            self._domain,
            self._codec,
            command,
            command_id,
            self._clock.now(),
            f"effect:{call.effect}",
            call.correlation_id,
            call.causation_id,
        )

    def _send_durably(self, envelope: Envelope) -> None:
        backoff = Backoff(SEND_SECONDS, SEND_SECONDS_MAX)
        while True:
            try:
                self._send([envelope])
                return
            except Unavailable:
                if self._stopped.wait(backoff.failed()):
                    raise

    def _pause_seconds(self, number: int) -> float:
        longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** (number - 1))
        return longest * self._dice.uniform(0.5, 1.0)


def _said(error: BaseException) -> str:
    """What stores can keep of it: no NUL, no half of a character."""
    text = str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__}: {error}"
    return text[:ERROR_CHARS_MAX].encode(errors="replace").decode().replace("\0", " ")
