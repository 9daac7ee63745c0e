"""Event streams (server-sent events): read bit by bit, and taken up again where they broke off.

    Listen, with the id of the last message ──> Hear … Hear ──> messages ──> Give
         ^                                           └──────> cut, silent or ended ──┐
         └──────────── after a pause, longer each time, as long as patience lasts ───┘

A message counts when it is whole; the gateway sends what comes after the last id that was heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from twofold.client.answers import LoggedEvent
from twofold.client.calls import PAUSE_SECONDS_MAX, Patience
from twofold.client.refusals import later_of, refusal_of
from twofold.client.said import EVENT_STREAM, QUIET_SECONDS_MAX, Manner, Token, path_of, prefer_of, query_of, token_of
from twofold.client.steps import Give, Hear, Heard, Listen, Pause, Steps, lost
from twofold.kernel.errors import Unavailable

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""Far more than any row or event may have."""


class Message(NamedTuple):
    """One event of a stream; `data` is JSON."""

    id: str
    event: str
    data: bytes


class Messages:
    """Of one connection. What is left unfinished when it ends has not been said."""

    def __init__(self) -> None:
        self.retry_seconds = 0.0
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def feed(self, some: bytes) -> Iterator[Message]:
        """The messages that are complete now. Raises Unavailable for one without end."""
        *lines, self._rest = (self._rest + some).split(b"\n")
        if len(self._rest) > MESSAGE_BYTES_MAX:
            raise lost("a message without end", f"more than {MESSAGE_BYTES_MAX} bytes")
        for line in lines:
            if message := self._read(line.rstrip(b"\r")):
                yield message

    def _read(self, line: bytes) -> Message | None:
        if not line:
            fields, self._fields = self._fields, {}
            if b"data" not in fields:
                return None
            return Message(fields.get(b"id", b"").decode(), fields.get(b"event", b"message").decode(), fields[b"data"])
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data" and b"data" in self._fields:
            self._fields[name] += b"\n" + value
        elif name == b"retry" and value.isdigit():
            self.retry_seconds = min(int(value) / 1_000, PAUSE_SECONDS_MAX)
        elif name:
            self._fields[name] = value
        return None


def events(manner: Manner, after: int, types: Iterable[str]) -> Steps[None]:
    chosen = ",".join([types] if isinstance(types, str) else types) or None
    path = f"/events{query_of(None, after=after, type=chosen)}"
    return _follow(manner, path, {}, lambda message: msgspec.json.decode(message.data, type=LoggedEvent))


def watch(manner: Manner, view: str, key: str, after: Token | None, wait_seconds: float | None) -> Steps[None]:
    first = token_of(after) | prefer_of(wait_seconds)
    return _follow(manner, path_of("views", view, key), first, _row, wait_seconds or 0.0)


def _row(message: Message) -> dict[str, Any] | None:
    return None if message.event == "gone" else msgspec.json.decode(message.data, type=dict[str, Any])


def _follow(
    manner: Manner, path: str, first: Mapping[str, str], shown: Callable[[Message], Any], first_seconds: float = 0.0
) -> Steps[None]:
    """For ever. `first` are headers until something was heard, which let the gateway wait for `first_seconds` before it begins.
    Raises Unavailable when nobody answers for too long."""
    patience, last_id = Patience(manner.patience_seconds), ""
    quiet = msgspec.structs.replace(manner, timeout_seconds=max(QUIET_SECONDS_MAX, manner.timeout_seconds))
    while True:
        resumed = {"Last-Event-ID": last_id} if last_id else dict(first)
        ask = quiet.ask("GET", path, {"Accept": EVENT_STREAM} | resumed, seconds=0.0 if last_id else first_seconds)
        messages = Messages()
        try:
            heard: Heard = yield Listen(ask)
            if why := later_of(ask, heard):
                raise why
            if heard.status != 200 or not str(heard.headers.get("content-type")).startswith(EVENT_STREAM):
                raise refusal_of(ask, heard)
            while some := (yield Hear()):
                patience.restored()
                for message in messages.feed(some):
                    try:
                        value = shown(message)
                    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                        raise refusal_of(ask, heard) from error
                    yield Give(value)
                    last_id = message.id or last_id
            raise lost("the event stream ended", ask.label)
        except Unavailable as ended:
            why = ended
        pause = patience.after(why)
        yield Pause(max(pause.seconds, messages.retry_seconds))
