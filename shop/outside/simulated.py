"""A payment provider that is not there. The token says how it behaves:

    tok_ok        yes, at once                 tok_slow   yes, a second later, whatever it is asked
    tok_declined  no                           tok_hang   never answers
    any other     no: there is no such card    tok_flaky  fails twice under each key, then it works

It is a party of its own, as a real one is: it keeps its books in a folder of its own, over every restart of the shop, does
everything once by key, and can be asked what it holds. While a file `away` is in that folder, it does not answer at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from twofold.shop.outside.books import Book, Books, Holding, Noted
from twofold.shop.outside.provider import Authorisation, PaymentProvider, ProviderAway, ProviderRefused

SLOW_SECONDS = 1.0
FLAKY_FAILURES = 2
REASONS = dict.fromkeys(("tok_ok", "tok_slow", "tok_flaky", "tok_hang"), "") | {"tok_declined": "card declined"}
NO_CARD = "no such card"
"""Why it says no, by token: "" is a yes."""
AWAY = "away"


class SimulatedProvider:
    """Port PaymentProvider."""

    def __init__(self, folder: Path) -> None:
        self._books = Books(folder / "payments.jsonl")
        self._away = folder / AWAY

    def authorise(
        self, key: str, payment_id: str, amount: int, currency: str, token: str, timeout_seconds: float
    ) -> Authorisation:
        self._answers(token, timeout_seconds)
        with self._books.open() as book:
            is_new = key not in book.done and payment_id not in book.closed
        if is_new and token == "tok_hang":
            time.sleep(timeout_seconds)
            raise ProviderAway(f"no answer within {timeout_seconds:g} s")
        with self._books.open() as book:
            done = book.done.get(key)
            if done is None:
                why_not = "voided" if payment_id in book.closed else REASONS.get(token, NO_CARD)
                done = Noted(key, "declined", payment_id, "", amount, currency, token, why_not)
                if not why_not:
                    self._fail_first(book, key, token)
                    done = Noted(key, "authorised", payment_id, _reference(key), amount, currency, token)
                self._books.note(done)
            elif (done.amount, done.currency, done.token) != (amount, currency, token):
                raise ProviderRefused("this key stands for another authorisation")
        return Authorisation(done.act == "authorised", done.reference, done.reason)

    def capture(self, key: str, reference: str, amount: int, timeout_seconds: float) -> None:
        self._act(Noted(key, "captured", reference=reference, amount=amount), timeout_seconds)

    def void(self, key: str, payment_id: str, reference: str, timeout_seconds: float) -> None:
        self._act(Noted(key, "voided", payment_id, reference), timeout_seconds)

    def refund(self, key: str, reference: str, amount: int, timeout_seconds: float) -> None:
        self._act(Noted(key, "refunded", reference=reference, amount=amount), timeout_seconds)

    def holdings(self) -> list[Holding]:
        """What it has of every payment it said yes to, in the order in which it did."""
        with self._books.open() as book:
            return [copy(holding) for holding in book.held.values()]

    def close(self) -> None:
        self._books.close()

    def _act(self, wish: Noted, timeout_seconds: float) -> None:
        with self._books.open() as book:
            token = next((one.token for one in book.held_for(wish.payment_id, wish.reference)), "")
        self._answers(token, timeout_seconds)
        with self._books.open() as book:
            if (done := book.done.get(wish.key)) is not None:
                if done != wish:
                    raise ProviderRefused("this key stands for something else")
                return
            self._fail_first(book, wish.key, token)
            if why_not := _why_not(book, wish):
                raise ProviderRefused(why_not)
            self._books.note(wish)

    def _answers(self, token: str, timeout_seconds: float) -> None:
        if self._away.exists():
            raise ProviderAway("connection refused")
        if token == "tok_slow":
            if timeout_seconds < SLOW_SECONDS:
                time.sleep(timeout_seconds)
                raise ProviderAway(f"no answer within {timeout_seconds:g} s")
            time.sleep(SLOW_SECONDS)

    def _fail_first(self, book: Book, key: str, token: str) -> None:
        if token == "tok_flaky" and book.failures.get(key, 0) < FLAKY_FAILURES:
            self._books.note(Noted(key, "failed"))
            raise ProviderAway("internal error")


def _reference(key: str) -> str:
    return "auth-" + blake2b(key.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _why_not(book: Book, wish: Noted) -> str:
    """Why it cannot be; "" when it can."""
    held = book.held_for(wish.payment_id, wish.reference)
    if wish.act == "voided":
        return "it was captured" if any(one.times_captured for one in held) else ""
    if not held:
        return "no such authorisation"
    match wish.act:
        case "captured" if held[0].is_voided:
            return "it was voided"
        case "captured" if held[0].times_captured:
            return "it was captured"
        case "captured" if wish.amount > held[0].authorised:
            return "more than was authorised"
        case "refunded" if wish.amount > held[0].captured - held[0].refunded:
            return "more than was captured"
    return ""


def provider_of(settings: Mapping[str, str]) -> PaymentProvider:
    """A real one's adapter has the same port, and would be chosen here, by a setting."""
    return _simulated(settings.get("TWOFOLD_PROVIDER_DATA") or f"{settings['TWOFOLD_DATA']}/provider")


@lru_cache(maxsize=8)
def _simulated(folder: str) -> SimulatedProvider:
    return SimulatedProvider(Path(folder))
