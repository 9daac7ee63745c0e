"""How a command gets in: JSON becomes an envelope, and an envelope is let in once.

    JSON ── Mint.envelope: decode strictly, name its stream, give it an id ──> Envelope
    Envelope ── Admission.admit: known here or in the inbox? expected version? ──> CommandQueue ──> durable: 202

A command with an idempotency key has the same id every time. Whoever brings it again is let through without being queued
again, as long as it is known here or decided; in the instant between, a second copy may travel, and the inbox drops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import STREAM_CHARS_MAX
from twofold.gateway.http.threads import Threads
from twofold.kernel.codec import Codec, encode
from twofold.kernel.codes import STREAM_MOVED
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Error, Malformed
from twofold.kernel.ids import command_id_for, is_made_of_key, new_command_id
from twofold.kernel.ports import Clock, CommandQueue, History, Inbox

ANONYMOUS = "anonymous"


Verdict = Problem | Error | None
"""On one envelope: None when it is durable in its lane, now or since before; else why not."""


class Mint:
    """Makes envelopes."""

    def __init__(self, domain: Domain, codec: Codec, clock: Clock) -> None:
        self._deciders: Mapping[str, tuple[str, str]] = {
            tag: (decider.name, decider.key) for tag, decider in domain.decider_of.items()
        }
        self._internal = domain.internal
        self._codec = codec
        self._clock = clock

    def envelope(
        self,
        command_type: str,
        data: bytes,
        key: str | None = None,
        expected_version: int | None = None,
        correlation_id: str | None = None,
    ) -> Envelope:
        """The envelope of a command from outside. Raises Problem unknown-command or internal-command, or Malformed."""
        named = self._deciders.get(command_type)
        if named is None:
            there_are = [tag for tag in self._deciders if tag not in self._internal]
            raise Problem("unknown-command", f"those there are: {', '.join(there_are)}")
        if command_type in self._internal:
            raise Problem("internal-command", f"{command_type} is not for clients; what they do makes a process send it")
        decider, key_field = named
        command = self._codec.command(command_type, data)
        stream = f"{decider}-{getattr(command, key_field)}"
        if stream == f"{decider}-":
            raise Malformed("the key must not be empty", f"/{key_field}")
        if len(stream) > STREAM_CHARS_MAX:
            raise Malformed(f"the stream's name would be longer than {STREAM_CHARS_MAX} characters", f"/{key_field}")
        canonical = encode(command)
        return Envelope(
            command_id=new_command_id() if key is None else command_id_for(ANONYMOUS, key),
            type=command_type,
            stream=stream,
            data=msgspec.Raw(canonical),
            fingerprint=fingerprint_of(command_type, canonical) if key is None else self._codec.fingerprint(command_type, data),
            accepted_at=self._clock.now(),
            correlation_id=correlation_id,
            expected_version=expected_version,
        )


class _Entering(NamedTuple):
    """An envelope in its lane that is not known to be durable yet."""

    fingerprint: str
    attempt: int
    durable: asyncio.Future[None]


class Admission:
    """Lives on the event loop."""

    def __init__(
        self, codec: Codec, queue: CommandQueue, inbox: Inbox, history: History, board: OutcomeBoard, threads: Threads
    ) -> None:
        self._codec = codec
        self._queue = queue
        self._inbox = inbox
        self._history = history
        self._board = board
        self._threads = threads
        self._entering: dict[str, _Entering] = {}
        self.accepted_count = 0

    def require_open(self) -> None:
        """Raises Unavailable when no command put now has a chance; for whoever has work to do before `admit`."""
        if (refusal := self._queue.refusal()) is not None:
            raise refusal

    async def admit(self, envelopes: Sequence[Envelope]) -> list[Verdict]:
        """Let each of these in, once, and wait until it is durable: a verdict for each, in order; none spoils another's.

        Envelopes of one stream keep their order. Raises Unavailable when a neighbour that all of them need is away: nothing
        was let in.
        """
        self.require_open()
        keyed, conditional = [], []
        for index, envelope in enumerate(envelopes):
            if is_made_of_key(envelope.command_id):
                keyed.append(envelope.command_id)
            # A parked command that is tried again was let in once: whether its stream has moved is for its outcome to say.
            if envelope.expected_version is not None and envelope.attempt == 1:
                conditional.append(index)
        verdicts: list[Verdict] = [None] * len(envelopes)
        if keyed:
            await self._look_up(keyed)
        if conditional:
            await self._check_versions(envelopes, conditional, verdicts)
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for index, envelope in enumerate(envelopes):
            if verdicts[index] is not None:
                continue
            if envelope.attempt == 1 and not is_made_of_key(envelope.command_id):
                waiting.append((index, self._put(envelope)))  # its id was minted for it: nobody else can bring it
                continue
            try:
                if not self._is_known(envelope):
                    waiting.append((index, self._enter(envelope)))
            except Problem as problem:
                verdicts[index] = problem
        for _, durable in waiting:
            if not durable.done():
                await _ended(durable)
        bug: BaseException | None = None
        for index, durable in waiting:
            error = durable.exception()
            if isinstance(error, Error):
                verdicts[index] = error
            else:
                bug = error or bug  # loud, once the others know what became of them
        if bug is not None:
            raise bug
        return verdicts

    async def _look_up(self, command_ids: Sequence[str]) -> None:
        """Learn what became of these: one id together with what other requests ask for, many with one call of their own."""
        if len(command_ids) == 1:
            await self._board.find(command_ids[0])
        else:
            found = await self._threads.run(lambda: self._inbox.outcomes(command_ids))
            self._board.hear(list(found.values()))

    async def _check_versions(self, envelopes: Sequence[Envelope], indexes: Sequence[int], verdicts: list[Verdict]) -> None:
        """A first look, so that most who are late lose at once; the worker looks again when it decides."""
        asked = self._unknown(envelopes, indexes, verdicts)
        streams = {envelopes[index].stream for index in asked}
        versions = await self._threads.run(lambda: {stream: self._history.version(stream) for stream in streams}) if asked else {}
        late = [index for index in asked if versions[envelopes[index].stream] != envelopes[index].expected_version]
        # What moved the stream may be this very command, brought by somebody else: its outcome is as old as the new version.
        keyed = [envelopes[index].command_id for index in late if is_made_of_key(envelopes[index].command_id)]
        if keyed:
            await self._look_up(keyed)
            late = self._unknown(envelopes, late, verdicts)
        for index in late:
            verdicts[index] = stream_moved(versions[envelopes[index].stream], envelopes[index].expected_version)

    def _unknown(self, envelopes: Sequence[Envelope], indexes: Sequence[int], verdicts: list[Verdict]) -> list[int]:
        """Those of these that have not been let in before; a verdict for each whose id belongs to another command."""
        unknown = []
        for index in indexes:
            try:
                if not self._is_known(envelopes[index]):
                    unknown.append(index)
            except Problem as problem:
                verdicts[index] = problem
        return unknown

    def require_same(self, envelope: Envelope, fingerprint: str) -> None:
        """Raises Problem key-reused when what has this envelope's id, and this fingerprint, is another command."""
        if not self._codec.is_same(envelope, fingerprint):
            raise Problem("key-reused", "take a new key for another command", command_id=envelope.command_id)

    def _is_known(self, envelope: Envelope) -> bool:
        """Whether this attempt at this very command has been let in before. Raises Problem key-reused for another command's id.

        Complete only after the inbox was asked.
        """
        earlier = (
            self._entering.get(envelope.command_id)
            or self._board.outcome(envelope.command_id)
            or self._board.accepted(envelope.command_id)
        )
        if earlier is None:
            return False
        self.require_same(envelope, earlier.fingerprint)
        return not isinstance(earlier, _Entering) and earlier.attempt >= envelope.attempt

    def _enter(self, envelope: Envelope) -> asyncio.Future[None]:
        """Put it into its lane, or wait with whoever just did."""
        entering = self._entering.get(envelope.command_id)
        if entering is None or entering.attempt < envelope.attempt:
            entering = _Entering(envelope.fingerprint, envelope.attempt, self._put(envelope))
            self._entering[envelope.command_id] = entering
        return entering.durable

    def _put(self, envelope: Envelope) -> asyncio.Future[None]:
        durable = self._queue.put(envelope)
        durable.add_done_callback(lambda done: self._entered(envelope, done))
        return durable

    def _entered(self, envelope: Envelope, done: asyncio.Future[None]) -> None:
        entering = self._entering.get(envelope.command_id)
        if entering is not None and entering.durable is done:
            del self._entering[envelope.command_id]
        if not done.cancelled() and done.exception() is None:
            self.accepted_count += 1
            self._board.accept(envelope)


async def _ended(durable: asyncio.Future[None]) -> None:
    """Waits without ending what it waits for: who gives up must not undo what is in its lane, nor spoil it for others."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    durable.add_done_callback(end)
    await ended


def stream_moved(version: int, expected: object) -> Problem:
    details = {"version": version, "expected": expected}
    return Problem("stream-moved", f"the stream is at version {version}, not at {expected}", code=STREAM_MOVED, details=details)
