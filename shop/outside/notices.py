"""Notices to customers, and the channels they take: the log, a file, or a mail server.

Names, reasons and numbers come from people. What goes into a header is one line without control characters, an address is one
address or nobody is written to, and the text is plain.
"""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import msgspec
import structlog

from twofold.shop.outside.journal import Journal

SENDER = "shop@localhost"
LINE_CHARS_MAX = 400
SMTP_PERMANENT = range(500, 600)


class Letter(msgspec.Struct, frozen=True):
    """What is to be told, and to whom: `to` is an address, or something else. `message_id` is the same in every try."""

    message_id: str
    kind: str
    order_id: str
    to: str
    subject: str
    text: str


class Channel(Protocol):
    def deliver(self, message: Letter, timeout_seconds: float) -> bool:
        """Hand it over. False when there is nobody to hand it to. Raises when it may not have been handed over: deliver it again,
        it is the same message."""


class LogChannel:
    """For trying things out. Who it is for, and what he is told, stays out of the log."""

    def deliver(self, message: Letter, timeout_seconds: float) -> bool:
        structlog.get_logger().info("notice", kind=message.kind, order=message.order_id, message_id=message.message_id)
        return True


class FileChannel:
    """Each notice once, a line of JSON, in a file that several processes may write."""

    def __init__(self, path: Path) -> None:
        self._written: set[str] = set()
        self._journal = Journal(path, lambda line: self._written.add(msgspec.json.decode(line, type=_Written).message_id))

    def deliver(self, message: Letter, timeout_seconds: float) -> bool:
        with self._journal.turn():
            if message.message_id not in self._written:
                self._journal.append(msgspec.json.encode(message))
        return True


class _Written(msgspec.Struct):
    message_id: str


class MailChannel:
    """A mail server that takes it from here. `smtps` is TLS from the first byte; over `smtp`, TLS when the server offers it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = {
            "hostname": parts.hostname or "localhost",
            "port": parts.port or (465 if parts.scheme == "smtps" else 25),
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
        }
        asked = parse_qs(parts.query)
        self._sender = one_address(asked.get("from", [SENDER])[0])
        self._otherwise = one_address(asked.get("to", [""])[0])

    def deliver(self, message: Letter, timeout_seconds: float) -> bool:
        to = one_address(message.to) or self._otherwise
        if to is None:
            return self._nobody(message, "no address")
        try:
            asyncio.run(aiosmtplib.send(self._mail(message, to), timeout=timeout_seconds, **self._server))  # type: ignore[arg-type]
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(refused.code in SMTP_PERMANENT for refused in error.recipients):
                return self._nobody(message, "refused by the mail server")
            raise
        return True

    def _mail(self, message: Letter, to: Address) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = to
        mail["Subject"] = one_line(message.subject)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.message_id}@twofold>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join(one_line(line) for line in message.text.splitlines()) + "\n")
        return mail

    def _nobody(self, message: Letter, reason: str) -> bool:
        structlog.get_logger().warning("notice not sent", kind=message.kind, order=message.order_id, reason=reason)
        return False


def one_address(text: str) -> Address | None:
    """None for what is not exactly one address of mail."""
    if not text.isascii() or one_line(text) != text:
        return None
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):
        return None
    return address if address.username and address.domain and address.addr_spec == text else None


def one_line(text: str) -> str:
    """Without control characters, line separators and marks that turn what follows around; not endless."""
    shown = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") else char for char in text)
    return shown[:LINE_CHARS_MAX]


@lru_cache(maxsize=8)
def channel_of(url: str) -> Channel:
    """`log:`, `file:PATH`, `smtp://user:password@host:port?from=ADDRESS&to=ADDRESS`, `smtps://…`."""
    scheme, _, rest = url.partition(":")
    match scheme:
        case "file":
            return FileChannel(Path(rest))
        case "smtp" | "smtps":
            return MailChannel(url)
    return LogChannel()
