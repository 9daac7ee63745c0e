"""Notices reach a real mail server as one plain message to one address, whatever people write into names and reasons."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from twofold.kernel.effects import Attempt
from twofold.shop.calls import Notice
from twofold.shop.effects import notify, text_of
from twofold.shop.notification import RecordNotification, decide, evolve
from twofold.shop.outside.notices import FileChannel, Letter, LogChannel, MailChannel, channel_of, one_address

HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"}
HEADERS |= {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
HOSTILE = ["x\r\nBcc: eve@example.com", "x\nSubject: free", "x\r\n\r\n<b>hi</b>", "\u2028Bcc: e@x.y", "x\0\x1b[2J"]
NO_ADDRESSES = [
    "",
    "c17",
    "ann",
    "@x.y",
    "ann@",
    "ann@x.y, eve@x.y",
    "Ann <ann@x.y>",
    "ann@x.y\nBcc: e@x.y",
    "ann@x.y ",
    "\u00e4nn@x.y",
]


class Inbox:
    """What a mail server is given, with the envelope it came in. `refusing` answers recipients; `is_deaf` never answers data."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refusing = ""
        self.is_deaf = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.refusing:
            return self.refusing
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.is_deaf:
            await asyncio.sleep(3)
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((list(envelope.rcpt_tos), parsed))
        return "250 taken"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    letters = Inbox()
    with serving(letters) as port:
        yield letters, f"smtp://127.0.0.1:{port}?from=shop@example.com"


@contextmanager
def serving(letters: Inbox, **options: Any) -> Iterator[int]:
    """A mail server, by its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    controller = Controller(letters, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def attempt(url: str, key: str = "11111111-1111-5111-8111-111111111111") -> Attempt:
    return Attempt(key, 1, 5.0, {"TWOFOLD_NOTIFY_URL": url})


def test_a_notice_is_one_plain_message_whose_id_is_the_calls(inbox: tuple[Inbox, str]) -> None:
    """The same in every try: who gets it twice can tell. And what is told is recorded, in the stream of this kind of news."""
    received, url = inbox
    said = notify(Notice("o1", "ann@example.com", "shipped", "Post 12"), attempt(url))
    assert said == RecordNotification("o1/shipped", "o1", "shipped", attempt(url).key)
    [(recipients, mail)] = received.mails
    assert recipients == ["ann@example.com"]
    assert (mail["To"], mail["From"]) == ("ann@example.com", "shop@example.com")
    assert mail["Message-ID"] == f"<{attempt(url).key}@twofold>"
    assert mail["Subject"] == "Your order o1: shipped"
    assert mail.get_content_type() == "text/plain" and not mail.is_multipart()
    assert mail.get_content().replace("\r\n", "\n") == "Dear customer,\n\nyour order o1 is on its way with Post 12.\n"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nobody_writes_headers_or_mails_of_his_own(inbox: tuple[Inbox, str], hostile: str) -> None:
    """Ids, reasons and numbers come from users."""
    received, url = inbox
    for notice in (Notice(hostile, "ann@example.com", "cancelled", "why"), Notice("o1", "ann@example.com", "cancelled", hostile)):
        notify(notice, attempt(url))
    for recipients, mail in received.mails:
        assert recipients == ["ann@example.com"]
        assert set(mail.keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"} == HEADERS and len(mail.get_all("Subject", [])) == 1
        assert mail["Subject"].startswith("Your order ") and mail["Subject"].endswith(": cancelled")
        assert not any(char in mail.get_content().replace("\r\n", "\n") for char in "\r\0\x1b\u2028")
    assert len(received.mails) == 2


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_not_one_address_is_none(text: str) -> None:
    assert one_address(text) is None


def test_who_has_no_address_is_not_written_to_unless_the_shop_says_where(inbox: tuple[Inbox, str]) -> None:
    """Nothing is recorded that was not sent, and nobody is bothered with a call that cannot be made."""
    received, url = inbox
    assert notify(Notice("o1", "c17", "confirmed"), attempt(url)) is None
    assert received.mails == []
    assert notify(Notice("o1", "c17", "confirmed"), attempt(f"{url}&to=desk@example.com")) is not None
    assert received.mails[0][0] == ["desk@example.com"]


def test_a_recipient_that_is_refused_for_good_is_nobody_and_one_that_is_busy_is_tried_again(inbox: tuple[Inbox, str]) -> None:
    received, url = inbox
    received.refusing = "550 no such user"
    assert notify(Notice("o1", "ann@example.com", "confirmed"), attempt(url)) is None
    received.refusing = "450 mailbox busy"
    with pytest.raises(Exception, match="busy"):
        notify(Notice("o1", "ann@example.com", "confirmed"), attempt(url))


def test_a_server_that_does_not_answer_is_given_up_in_time(inbox: tuple[Inbox, str]) -> None:
    received, url = inbox
    received.is_deaf = True
    started = time.monotonic()
    with pytest.raises(Exception, match=r"(?i)timed? ?out"):
        MailChannel(url).deliver(message(), 0.3)
    assert time.monotonic() - started < 2.5
    with pytest.raises(OSError):
        MailChannel("smtp://127.0.0.1:1").deliver(message(), 1.0)


def test_name_and_password_of_the_url_are_used() -> None:
    """With their escapes undone; a wrong password is an error, to be tried again when somebody has mended it."""
    seen: list[tuple[bytes, bytes]] = []

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss", handled=False)

    letters = Inbox()
    with serving(letters, authenticator=check, auth_required=True, auth_require_tls=False) as port:
        assert MailChannel(f"smtp://shop:p%40ss@127.0.0.1:{port}").deliver(message(), 5.0)
        with pytest.raises(Exception, match="(?i)auth"):
            MailChannel(f"smtp://shop:wrong@127.0.0.1:{port}").deliver(message(), 5.0)
    assert seen[0] == (b"shop", b"p@ss") and len(letters.mails) == 1


def test_the_file_has_each_notice_once_whoever_writes_it(tmp_path: Path) -> None:
    both = [FileChannel(tmp_path / "notices.jsonl") for _ in range(2)]
    one, other = message(), message()
    for channel in both:
        for each in (one, other, one):
            assert channel.deliver(each, 1.0)
    lines = (tmp_path / "notices.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Letter) for line in lines] == [one, other]


def test_a_setting_chooses_the_channel(tmp_path: Path) -> None:
    assert isinstance(channel_of("log:"), LogChannel)
    assert isinstance(channel_of(f"file:{tmp_path}/n.jsonl"), FileChannel)
    assert isinstance(channel_of("smtps://mail.example.com"), MailChannel)
    assert channel_of("log:").deliver(message(), 1.0)


@pytest.mark.parametrize("kind", ["confirmed", "cancelled", "shipped", "refunded"])
def test_every_kind_has_its_words(kind: Any) -> None:
    text = text_of(Notice("o1", "c1", kind, "reason", 1205))
    assert "o1" in text and ("12.05" in text) == (kind == "refunded")


def test_what_was_told_is_recorded_once_by_message() -> None:
    """An order that is refunded in two parts is written about twice; a repeated call once."""
    first, second = (RecordNotification("o1/refunded", "o1", "refunded", name) for name in ("m1", "m2"))
    told: tuple[str, ...] = ()
    made = []
    for command in (first, first, second, first):
        events = decide(told, command)
        for event in events:
            told = evolve(told, event)
        made.append(len(events))
    assert made == [1, 0, 1, 0]


def message() -> Letter:
    return Letter(str(uuid4()), "confirmed", "o1", "ann@example.com", "subject", "text")
