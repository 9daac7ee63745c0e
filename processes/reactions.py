"""What the folds of processes have to send, and that it is sent before their rows and checkpoints move.

A projection that sends is the plain one with two methods more careful: `commit` and `drain` first make durable whatever the
events they are about to commit have the process do. A crash in between repeats the sending, and a repeat is a duplicate.

Rows that are built beside those that answer are folds of events whose reactions were sent long ago. `sent_through` says up to
which position: where the live generation stands, or the process began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.effects import AskedCall, EffectQueue
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Malformed
from twofold.kernel.instances import VIEW_PREFIX, Sent, instances_of, principal_of, reaction_id
from twofold.kernel.messages import Command, tag_of
from twofold.kernel.ports import Clock, Projection
from twofold.kernel.process import AnyProcess, Call
from twofold.kernel.rows import Advance, Drain
from twofold.kernel.view import About, AnyView, SliceId
from twofold.monitoring.observed import replaced
from twofold.processes.enveloped import enveloped

Send = Callable[[Sequence[Envelope]], None]
"""Returns when all of these commands are durable, in this order within each stream. Raises Unavailable."""
Due = tuple[list[Envelope], list[AskedCall]]


class Reactions:
    """Of the processes of one domain, as one thread folds them. `views` are those to fold; `sent_through` gives, for a generation
    (view, number), the position up to which nothing is to be sent. `calls` is None in a domain without effects."""

    def __init__(
        self,
        domain: Domain,
        codec: Codec,
        clock: Clock,
        send: Send,
        calls: EffectQueue | None,
        sent_through: Callable[[str, int], int],
    ) -> None:
        self._domain = domain
        self._codec = codec
        self._clock = clock
        self._send = send
        self._calls = calls
        self._sent_through = sent_through
        self._told: dict[tuple[str, str], dict[int, Due]] = {}
        """By view and key, then by position."""
        views = (instances_of(process, partial(self._tell, process)) for process in domain.processes.values())
        self.views: Mapping[str, AnyView] = {view.name: view for view in views}

    def sent_by(self, port: Projection) -> Projection:
        """The projection that sends what is told before it commits it."""

        def commit(advances: Sequence[Advance]) -> set[SliceId]:
            for advance in advances:
                ends = {key: waiting[0] for key, waiting in advance.waiting.items()}
                rows = {key: ends.get(key, advance.position + 1) for key in advance.rows}
                self._send_told(advance.slice, advance.expected, rows)
            self._told.clear()
            return port.commit(advances)

        def drain(line: Drain) -> bool:
            if line.through is not None:
                self._send_told(line.slice, line.first - 1, dict.fromkeys(line.rows, line.through + 1))
            self._told.clear()
            return port.drain(line)

        return cast(Projection, replaced(port, commit=commit, drain=drain))

    def _send_told(self, slice_id: SliceId, after: int, ends: Mapping[str, int]) -> None:
        """What was told of these keys by events behind a position, and before that at which each ends, in log order."""
        begins = max(after, self._sent_through(slice_id.view, slice_id.generation))
        due = [
            (position, told)
            for key, end in ends.items()
            for position, told in self._told.get((slice_id.view, key), {}).items()
            if begins < position < end
        ]
        if not due:
            return
        due.sort(key=lambda one: one[0])
        if (calls := [call for _, told in due for call in told[1]]) and self._calls is not None:
            self._calls.put(calls)
        if envelopes := [envelope for _, told in due for envelope in told[0]]:
            self._send(envelopes)

    def _tell(self, process: AnyProcess, about: About, sent: Sequence[Sent]) -> None:
        """Raises for what nobody could execute: then the instance is parked at this event."""
        envelopes, calls = [], []
        for ordinal, one in enumerate(sent):
            name = reaction_id(process.name, about, ordinal)
            if isinstance(one, Command):
                envelopes.append(self._envelope(process.name, name, one, about))
            else:
                calls.append(self._call(process.name, name, one, about))
        self._told.setdefault((f"{VIEW_PREFIX}{process.name}", about.key), {})[about.position] = envelopes, calls

    def _envelope(self, process: str, command_id: str, command: Command, about: About) -> Envelope:
        correlation_id, causation_id = about.correlation_id or None, about.command_id or None
        name, now = principal_of(process, about.key), self._clock.now()
        try:
            return enveloped(self._domain, self._codec, command, command_id, now, name, correlation_id, causation_id)
        except Malformed as error:
            tag = tag_of(type(command))
            raise ValueError(f"process {process} sends a {tag} that would be refused at the door: {error}") from error

    def _call(self, process: str, call_id: str, call: Call, about: About) -> AskedCall:
        effect = self._domain.effects.get(call.effect)
        if effect is None:
            raise TypeError(f"process {process} calls {call.effect!r}, which is not among the domain's EFFECTS")
        request = call.request
        if isinstance(request, dict):
            request = msgspec.convert(request, effect.request)
        if not isinstance(request, effect.request):
            raise TypeError(f"process {process}: effect {call.effect} asks for a {effect.request.__name__}, not {request!r}")
        return AskedCall(
            call_id=call.call_id or call_id,
            effect=call.effect,
            process=process,
            key=about.key,
            request=msgspec.Raw(msgspec.json.encode(request)),
            asked_at=about.recorded_at,
            correlation_id=about.correlation_id or None,
            causation_id=about.command_id or None,
        )
