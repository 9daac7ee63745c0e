"""The door: a command becomes an envelope, and an envelope is let in once.

    JSON ── mint: decode strictly, name its stream, give it an id ──> Envelope ── enter ──> CommandQueue ──> durable: 202

A command with an idempotency key has the same id every time. Whoever brings it again is let through without being queued
again, as long as it is known here or decided; in the instant between, a second copy may travel, and the inbox drops it.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping

import msgspec

from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.params import STREAM_CHARS_MAX
from twofold.gateway.http.problem import Problem
from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Malformed, Neighbour, Unavailable
from twofold.kernel.ids import command_id_for, new_command_id
from twofold.kernel.ports import Clock, CommandQueue

ANONYMOUS = "anonymous"


class Door:
    """Lives on the event loop."""

    def __init__(self, domain: Domain, codec: Codec, clock: Clock, queue: CommandQueue, board: OutcomeBoard) -> None:
        self._deciders: Mapping[str, tuple[str, str]] = {
            tag: (decider.name, decider.key) for tag, decider in domain.decider_of.items()
        }
        self._codec = codec
        self._clock = clock
        self._queue = queue
        self._board = board
        self._entering: dict[str, tuple[str, Future[None]]] = {}
        self.accepted_count = 0

    def require_ready(self) -> None:
        """Raises Unavailable when a command put now would only wait for its time to run out."""
        if not self._queue.is_ready():
            raise Unavailable(Neighbour.LANES, "not ready")

    def mint(
        self,
        command_type: str,
        data: bytes,
        key: str | None = None,
        expected_version: int | None = None,
        correlation_id: str | None = None,
    ) -> Envelope:
        """The envelope of a command. Raises Problem unknown-command, or Malformed."""
        named = self._deciders.get(command_type)
        if named is None:
            raise Problem("unknown-command", "there is no such command; /openapi.json lists those there are")
        decider, key_field = named
        command = self._codec.command(command_type, data)
        stream = f"{decider}-{getattr(command, key_field)}"
        if len(stream) > STREAM_CHARS_MAX:
            raise Malformed(f"the stream's name would be longer than {STREAM_CHARS_MAX} characters", f"/{key_field}")
        canonical = encode(command)
        return Envelope(
            command_id=new_command_id() if key is None else command_id_for(ANONYMOUS, key),
            type=command_type,
            stream=stream,
            data=msgspec.Raw(canonical),
            fingerprint=fingerprint_of(command_type, canonical),
            accepted_at=self._clock.now(),
            correlation_id=correlation_id,
            expected_version=expected_version,
        )

    def knows(self, envelope: Envelope) -> bool:
        """Whether this very command has been let in before. Raises Problem key-reused when its id belongs to another one.

        Complete only after the board has looked the id up in the inbox.
        """
        entering = self._entering.get(envelope.command_id)
        earlier = self._board.outcome(envelope.command_id) or self._board.accepted(envelope.command_id)
        fingerprint = entering[0] if entering else earlier.fingerprint if earlier else None
        if fingerprint not in (None, envelope.fingerprint):
            raise Problem("key-reused", "this idempotency key was used with another body", command_id=envelope.command_id)
        return earlier is not None

    def enter(self, envelope: Envelope) -> Future[None] | None:
        """Put it into its lane: a future that ends as the queue's does. None when it has been let in before.

        Cancelling the future would cancel it for everybody who came with the same key: shield it.
        """
        if self.knows(envelope):
            return None
        entering = self._entering.get(envelope.command_id)
        if entering is not None:
            return entering[1]
        return self.enter_again(envelope)

    def enter_again(self, envelope: Envelope) -> Future[None]:
        """Put it into its lane whatever is known of it: a parked command that is retried, one attempt further."""
        future = self._queue.put(envelope)
        self._entering[envelope.command_id] = (envelope.fingerprint, future)
        future.add_done_callback(lambda done: self._entered(envelope, done))
        return future

    def _entered(self, envelope: Envelope, done: Future[None]) -> None:
        self._entering.pop(envelope.command_id, None)
        if not done.cancelled() and done.exception() is None:
            self.accepted_count += 1
            self._board.accept(envelope)
