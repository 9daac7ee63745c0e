"""Automatic orders under fire: few products, a provider that says no, late, nothing, or fails at first, and is away for a while;
and workers, projectors and processes that are killed every few seconds.

Whatever happened, in the end every order is in a final state, no stock is below zero or left reserved, what the provider took
less what it gave back is what the orders kept are worth, and each customer was told once of each fact. Provider and letter box
have books of their own, which are read here; the rest is read from the log.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import msgspec
import psycopg

from tests.chaos.checker import Violation, shown
from tests.chaos.client import Load
from tests.chaos.record import Record
from tests.chaos.rooms import wait_until
from tests.chaos.rounds import Round, settle
from tests.chaos.scenarios import ABSENT_SECONDS
from tests.chaos.served import Backends, Plan, Served, private_backends
from tests.chaos.stories import Step
from tests.servers import Servers
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.shop.outside.simulated import AWAY, SimulatedProvider

ORDERS = 300
PRODUCTS, LINES_MAX, QUANTITY_MAX = 8, 3, 3
PIECES_EACH = 2
"""For each order and product, about: enough for most, not for all."""
TOKENS = ("tok_ok",) * 6 + ("tok_declined", "tok_slow", "tok_hang", "tok_flaky")
KILL_SECONDS_MIN, KILL_SECONDS_MAX = 1.0, 3.0
AWAY_SECONDS, AWAY_SHARE = 5.0, 0.2
FINAL_SECONDS_MAX = 900.0
RETURNED_SHARE, CANCELLED_SHARE = 0.3, 0.1
STATES = "SELECT key, state ->> 'phase', status FROM read.\"process_fulfilment__g{}\""
LIVE = "SELECT generation FROM read.generations WHERE view = 'process_fulfilment' AND state = 'live'"
ADDRESS = {"name": "Ann", "line1": "1 High Street", "city": "Hull", "postcode": "HU1", "country": "United Kingdom"}


class Outside:
    """The provider's books and the letter box, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._books = folder / "provider"
        self._books.mkdir(parents=True)
        self._letters = folder / "letters.jsonl"
        self.provider = SimulatedProvider(self._books)
        self.environment = {"TWOFOLD_PROVIDER_DATA": str(self._books), "TWOFOLD_NOTIFY_URL": f"file:{self._letters}"}

    def away(self, seconds: float) -> None:
        (self._books / AWAY).touch()
        time.sleep(seconds)
        (self._books / AWAY).unlink()

    def letters(self) -> Counter[tuple[str, str]]:
        """How many lie there, by order and kind."""
        lines = self._letters.read_bytes().splitlines() if self._letters.exists() else []
        written = [msgspec.json.decode(line) for line in lines]
        return Counter((one["order_id"], one["kind"]) for one in written)


def fulfilling_rounds(servers: Servers, backends: Backends, folder: Path, count: int, random: Random) -> Iterator[Round]:
    outside = Outside(folder / f"outside-{random.getrandbits(32):x}")
    with Served(backends, folder, Plan(processes=2, environment=outside.environment)) as served:
        for number in range(count):
            yield fulfilling_round(served, outside, f"f{number}", ORDERS, random)


def main() -> int:
    """`python -m tests.chaos.fulfilling --orders 10000`: one long round, in which the provider is once away for a minute."""
    parser = argparse.ArgumentParser("python -m tests.chaos.fulfilling", description=main.__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--away", type=float, default=60.0)
    parser.add_argument("--seed", default="f")
    given = parser.parse_args()
    servers = Servers()
    try:
        with tempfile.TemporaryDirectory(prefix="twofold-chaos-") as folder, private_backends(servers) as backends:
            outside = Outside(Path(folder) / "outside")
            with Served(backends, Path(folder), Plan(processes=2, environment=outside.environment)) as served:
                one = fulfilling_round(served, outside, "f", given.orders, Random(given.seed), given.away)
                print(one, *shown(one.violations), sep="\n", flush=True)
    finally:
        servers.close()
    return 1 if one.violations else 0


def fulfilling_round(
    served: Served, outside: Outside, name: str, count: int, random: Random, away_seconds: float = AWAY_SECONDS
) -> Round:
    """Orders are placed, come to an end, are shipped, and some of them come back, while processes die."""
    begun, record = time.monotonic(), Record()
    load, keys = Load(served.urls, record, name, random), iter(range(10 * count))

    def post(steps: Sequence[Step]) -> None:
        asyncio.run(load.replay([(step, f"{name}-{next(keys)}") for step in steps]))

    skus = [f"{name}-sku{number}" for number in range(PRODUCTS)]
    post([Step("ReceiveStock", f"stock-{sku}", {"sku": sku, "quantity": PIECES_EACH * count // 3}) for sku in skus])
    placed = [_order(f"{name}-o{number}", skus, random) for number in range(count)]
    ids = [step.data["order_id"] for step in placed]
    with Killing(served, outside, random, away_seconds) as killing:
        post(placed)
        post([_of_order("CancelOrder", key, reason="changed my mind") for key in ids if random.random() < CANCELLED_SHARE])
        ended = _ended(served, ids, "confirmed", "cancelled")
        confirmed = [key for key, phase in ended.items() if phase == "confirmed"]
        post([_of_order("ShipOrder", key, carrier="post", tracking_number=key) for key in confirmed])
        _ended(served, ids, "shipped", "cancelled")
        returned = [key for key in confirmed if random.random() < RETURNED_SHARE]
        post([_of_order("ReturnOrder", key, reason="broken") for key in returned])
    wait_until("nothing is owed", lambda: _is_even(served, outside), FINAL_SECONDS_MAX, lambda: _told(served, outside))
    violations, settle_seconds = settle(served, record, FINAL_SECONDS_MAX)
    violations += comes_out_even(served, outside)
    violations += served.checker.check(record) + served.checker.check_all_rows()
    violations += [Violation("every process lives", room.name) for room in served.rooms if not room.is_alive()]
    seconds = time.monotonic() - begun
    kept = f"{len(confirmed)} confirmed, {len(returned)} returned"
    did = f"{count} orders, {kept}; {killing.kills} kills, {killing.away_seconds:.0f} s without a provider"
    accepted = len(record.accepted)
    return Round("fulfilling", did, accepted, accepted / seconds, record.retries.total(), settle_seconds, 0.0, violations)


class Killing:
    """Somebody dies every few seconds while the block runs, and comes back; now and then it is the provider."""

    def __init__(self, served: Served, outside: Outside, random: Random, away_seconds: float) -> None:
        self._served, self._outside, self._random = served, outside, random
        self._away_seconds = away_seconds
        self.kills, self.away_seconds = 0, 0.0
        self._stop = Event()
        self._thread = Thread(target=self._run, name="killing", daemon=True)

    def __enter__(self) -> Killing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for room in self._served.rooms:
            room.wait_ready()

    def _run(self) -> None:
        random = self._random
        while not self._stop.wait(random.uniform(KILL_SECONDS_MIN, KILL_SECONDS_MAX)):
            if random.random() < AWAY_SHARE:
                self._outside.away(self._away_seconds)
                self.away_seconds += self._away_seconds
                self._away_seconds = AWAY_SECONDS
                continue
            room = random.choice([*self._served.workers, *self._served.projectors, *self._served.processes * 2])
            room.kill()
            time.sleep(random.uniform(0.0, ABSENT_SECONDS))
            room.start()
            self.kills += 1


def comes_out_even(served: Served, outside: Outside) -> list[Violation]:
    """What the log says, against the provider's books and the letters; of everything since the log began."""
    codec = Codec(load_domain(served.plan.domain))
    worth: dict[str, int] = {}
    wanted: Counter[tuple[str, str]] = Counter()
    on_hand: Counter[str] = Counter()
    reserved: dict[tuple[str, str], int] = defaultdict(int)
    found = []
    for event in served.stores.events(0):
        fact: Any = codec.event(event)
        match event.type:
            case "OrderConfirmed":
                worth.setdefault(fact.order_id, 0)
                wanted[fact.order_id, "confirmed"] += 1
            case "OrderShipped":
                wanted[fact.order_id, "shipped"] += 1
            case "OrderCancelled":
                wanted[fact.order_id, "cancelled"] += 1
            case "PaymentRefunded":
                worth[fact.order_id] -= fact.amount
                wanted[fact.order_id, "refunded"] += 1
            case "PaymentCaptured":
                worth[fact.order_id] = worth.get(fact.order_id, 0) + fact.amount
            case "OrderReturned":
                wanted[fact.order_id, "refunded"] += 0
            case "StockReceived":
                on_hand[fact.sku] += fact.quantity
            case "StockReserved":
                reserved[fact.sku, fact.order_id] += fact.quantity
            case "StockReleased" | "StockIssued":
                reserved[fact.sku, fact.order_id] -= fact.quantity
                on_hand[fact.sku] -= fact.quantity if event.type == "StockIssued" else 0
        if on_hand and min(on_hand.values()) < 0:
            found.append(Violation("no stock is below zero", f"at {event.position}"))
    held = {one.payment_id: one for one in outside.provider.holdings()}
    phases = _phases(served)
    for key, (phase, status) in phases.items():
        if phase not in ("shipped", "cancelled") or status != "done":
            found.append(Violation("each order comes to an end", f"{key}: {phase}, {status}"))
        book = held.get(key)
        taken = book.captured - book.refunded if book else 0
        open_amount = book.authorised - book.captured if book and not book.is_voided and not book.times_captured else 0
        if taken != worth.get(key, 0) or open_amount:
            found.append(Violation("money comes out even", f"{key}: {book}, kept {worth.get(key, 0)}"))
    found += [Violation("nothing is left reserved", f"{key}: {left}") for key, left in reserved.items() if left]
    letters = outside.letters()
    wrong = {key for key in letters.keys() | wanted.keys() if letters[key] != wanted[key]}
    return found + [Violation("each is told once", f"{key}: {letters[key]} of {wanted[key]}") for key in sorted(wrong)]


def _order(order_id: str, skus: Sequence[str], random: Random) -> Step:
    lines = [
        {"sku": sku, "description": "thing", "quantity": random.randint(1, QUANTITY_MAX), "unit_price": 250}
        for sku in random.choices(skus, k=random.randint(1, LINES_MAX))
    ]
    data = {"order_id": order_id, "customer_id": f"c{random.randrange(20)}", "lines": lines, "shipping_address": ADDRESS}
    return Step("PlaceOrder", f"order-{order_id}", {**data, "payment_token": random.choice(TOKENS)})


def _of_order(command: str, order_id: str, **fields: Any) -> Step:
    return Step(command, f"order-{order_id}", {"order_id": order_id, **fields})


def _phases(served: Served) -> dict[str, tuple[str, str]]:
    """Of every automatic order, as its process knows it."""
    with psycopg.connect(served.stores.rows_url) as connection:
        live = connection.execute(LIVE).fetchone()
        assert live is not None
        return {key: (phase, status) for key, phase, status in connection.execute(STATES.format(live[0]))}


def _ended(served: Served, order_ids: Sequence[str], *phases: str) -> dict[str, str]:
    """The phase of each, once all of them are in one of these. Raises RuntimeError when they do not come there."""
    now: dict[str, str] = {}

    def are_there() -> bool:
        found = _phases(served)
        now.update({key: found[key][0] if key in found else "" for key in order_ids})
        time.sleep(0.2)
        return all(phase in phases for phase in now.values())

    wait_until(f"orders are {phases}", are_there, FINAL_SECONDS_MAX, lambda: f"{Counter(now.values())}\n{served.tails()}")
    return now


def _is_even(served: Served, outside: Outside) -> bool:
    time.sleep(1.0)
    return not comes_out_even(served, outside)


def _told(served: Served, outside: Outside) -> str:
    return "\n".join(str(one) for one in comes_out_even(served, outside)[:10]) + served.tails()


if __name__ == "__main__":
    sys.exit(main())
