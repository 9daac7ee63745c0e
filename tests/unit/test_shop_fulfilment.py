"""Fulfilment, simulated: many orders for few products, commands that overtake each other between streams, a provider that says
no, late, or nothing, customers who cancel, and processes that die between sending and committing. Whatever the order of things,
what is promised and paid comes out even."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

import twofold.shop
from tests.contract.projections import QuietBell
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.effects import AskedCall, Effect
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.messages import Command
from twofold.kernel.ports import LogPages, ViewStore
from twofold.kernel.process import GiveUpCall, InstanceCancelled, InstanceRetried
from twofold.processes.enveloped import enveloped
from twofold.processes.reactions import Reactions
from twofold.processes.timers import Timers
from twofold.readmodels.projection.projector import Projector
from twofold.shop.calls import AskAuthorisation, AskCapture, AskRefund, AskVoid, Notice
from twofold.shop.fulfilment import FULFILMENT, PAYMENT_SECONDS_MAX
from twofold.shop.notifying import NOTIFYING
from twofold.shop.order.commands import CancelOrder, PlaceOrder, ReturnOrder, ShipOrder
from twofold.shop.payment import RecordAuthorisation
from twofold.shop.stock import ReceiveStock
from twofold.shop.values import OrderLine, ShippingAddress
from twofold.subscriptions.log_cache import log_of
from twofold.testing.clock import ManualClock
from twofold.testing.memory_bus import MemoryBell, MemoryOutcomes
from twofold.testing.memory_log import MemoryLog
from twofold.testing.memory_rows import MemoryViewStore
from twofold.workers.execute import Executor

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
REQUESTS: dict[str, type[msgspec.Struct]] = {
    "authorise": AskAuthorisation,
    "capture": AskCapture,
    "void": AskVoid,
    "refund": AskRefund,
    "notify": Notice,
}
ADDRESS = ShippingAddress("A", "1 High Street", "Leeds", "LS1", "United Kingdom")
STEPS_MAX = 20_000


def _module() -> Any:
    effects = tuple(Effect[Any](name, request, lambda request, attempt: None) for name, request in REQUESTS.items())
    names = {"__name__": "shop", "DECIDERS": twofold.shop.DECIDERS, "VIEWS": ()}
    return SimpleNamespace(**names, PROCESSES=(FULFILMENT, NOTIFYING), EFFECTS=effects)


DOMAIN = domain_of(_module())
CODEC = Codec(DOMAIN)


class Account(msgspec.Struct):
    """What the provider holds of one payment."""

    held: int = 0
    captured: int = 0
    refunded: int = 0
    is_voided: bool = False


class World:
    """Everything but the servers, with dice."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.clock = ManualClock(BEGIN)
        self.log, self.store = MemoryLog(self.clock), MemoryViewStore()
        self.executor = Executor(DOMAIN, CODEC, self.log, MemoryBell(), MemoryOutcomes())
        self.lanes: dict[str, deque[Envelope]] = defaultdict(deque)
        self.calls: list[AskedCall] = []
        self.accounts: dict[str, Account] = defaultdict(Account)
        self.answers: dict[str, RecordAuthorisation | None] = {}
        self.told: dict[str, Notice] = {}
        self.slices = [
            one for process in DOMAIN.processes for one in self.store.make(DOMAIN.views[f"process_{process}"], 2).slice_ids()
        ]
        self.projector = self._projector()

    def _projector(self) -> Any:
        reactions = Reactions(DOMAIN, CODEC, self.clock, self._send, cast(Any, self), lambda view, number: 0)
        store = cast(ViewStore, reactions.sent_by(self.store))
        views = list(reactions.views.values())
        projector = Projector(log_of(cast(LogPages, self.log), CODEC, views), store, [views], QuietBell(), 7)
        projector.hold(self.slices)
        return projector

    def _send(self, envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            self.lanes[envelope.stream].append(envelope)
        if self.dice.random() < 0.1:
            raise Unavailable(Neighbour.BROKER, "not confirmed")

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        self.calls += calls

    def wish(self, command: Command) -> None:
        envelope = enveloped(
            DOMAIN, CODEC, command, f"00000000-0000-4000-8000-{self.dice.getrandbits(48):012x}", self.clock.now(), "c"
        )
        self.lanes[envelope.stream].append(envelope)

    def run(self) -> None:
        """Until nothing is left to do."""
        for _ in range(STEPS_MAX):
            due = [name for name, lane in self.lanes.items() if lane]
            if self.dice.random() < 0.5 and due:
                self._execute(self.dice.sample(due, min(3, len(due))))
            elif self.dice.random() < 0.5 and self.calls:
                self._perform(self.calls.pop(self.dice.randrange(len(self.calls))))
            else:
                is_behind = self._fold()
                is_idle = not any(self.lanes.values()) and not self.calls and not is_behind
                if is_idle and not self._time_passes():
                    return
        raise AssertionError("it comes to no end")

    def _execute(self, streams: Sequence[str]) -> None:
        batch = [self.lanes[name].popleft() for name in streams for _ in range(min(2, len(self.lanes[name])))]
        outcomes = self.executor.execute(batch)
        assert not [outcome for outcome in outcomes if outcome.status == "parked"], self.log.parked()[0].error

    def _fold(self) -> bool:
        try:
            return bool(self.projector._subscriptions[0].round())
        except Unavailable:
            self.projector = self._projector()  # it died, and another begins where the rows are
            return True

    def _time_passes(self) -> bool:
        """Whether there was anything to wait for."""
        found: list[Envelope] = []
        self.clock.advance(PAYMENT_SECONDS_MAX + 1)
        Timers(self.store, self.clock, found.extend, lambda: ["fulfilment"]).look()
        for envelope in found:
            self.lanes[envelope.stream].append(envelope)
        return bool(found)

    def _perform(self, call: AskedCall) -> None:
        request: Any = msgspec.json.decode(call.request, type=REQUESTS[call.effect])
        answer = None
        if call.effect == "notify":
            assert self.told.setdefault(call.call_id, request) == request
        elif call.call_id not in self.answers:
            answer = self.answers[call.call_id] = self._asked(call, request)
        else:
            answer = self.answers[call.call_id]
        if answer is not None:
            envelope = enveloped(DOMAIN, CODEC, answer, call.call_id[:-1] + "0", self.clock.now(), "effect:authorise")
            self.lanes[envelope.stream].append(envelope)

    def _asked(self, call: AskedCall, request: Any) -> RecordAuthorisation | None:
        account = self.accounts[request.payment_id]
        match request:
            case AskAuthorisation(payment_id, amount, _, token):
                if token == "tok_declined" or account.is_voided:
                    return RecordAuthorisation(payment_id, False, "", "no")
                if token == "tok_hang":
                    data = msgspec.to_builtins(request)
                    told = GiveUpCall(
                        f"{call.process}/{call.key}", call.process, call.key, call.call_id, call.effect, data, "no answer"
                    )
                    self.wish(told)
                    account.held = amount if self.dice.random() < 0.5 else 0
                    return None
                account.held = amount
                return RecordAuthorisation(payment_id, True, f"ref-{payment_id}")
            case AskVoid():
                account.held, account.is_voided = 0, True
            case AskCapture(amount=amount):
                self._capture(account, amount)
            case AskRefund(captured=captured, amount=amount):
                self._capture(account, captured)
                account.refunded += amount
        return None

    def _capture(self, account: Account, amount: int) -> None:
        """Once, whoever asks first."""
        assert account.captured == amount or account.held == amount, "captured without being held"
        account.held, account.captured = 0, amount

    def rows(self, process: str) -> dict[str, Any]:
        keys = {event.stream.partition("-")[2] for event in self.events if event.type == "OrderPlaced"}
        return {key: cast(Any, row.value) for key, row in self.store.load(f"process_{process}", keys).items()}

    @property
    def events(self) -> list[Any]:
        return self.log.page(0, 100_000).events

    def facts(self, name: str) -> list[Any]:
        return [CODEC.event(one) for one in self.events if one.type == name]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_everything_comes_out_even(seed: int) -> None:
    world = World(seed)
    skus = [f"sku{number}" for number in range(4)]
    for sku in skus:
        world.wish(ReceiveStock(sku, 40))
    for number in range(40):
        lines = tuple(OrderLine(sku, "d", world.dice.randrange(1, 5), 250) for sku in world.dice.choices(skus, k=3))
        token = world.dice.choice(("tok_ok", "tok_ok", "tok_ok", "tok_declined", "tok_hang"))
        world.wish(PlaceOrder(f"o{number}", f"c{number % 5}", lines, ADDRESS, payment_token=token))
        if world.dice.random() < 0.15:
            world.wish(CancelOrder(f"o{number}", "changed my mind"))
    world.run()
    orders = world.rows("fulfilment")
    assert len(orders) == 40
    settled = {key: one for key, one in orders.items() if one.state.phase in ("confirmed", "cancelled")}
    assert set(orders) == set(settled), "each is in a final state"
    confirmed = [key for key, one in orders.items() if one.state.phase == "confirmed"]
    assert confirmed and len(confirmed) < 40
    for key in confirmed:
        world.wish(ShipOrder(key, "Royal Mail", f"T{key}"))
    world.run()
    for key in confirmed[::2]:
        world.wish(ReturnOrder(key, "broken"))
    world.run()
    orders = world.rows("fulfilment")
    assert {one.status for one in orders.values()} == {"done"}, "nobody is left stuck"
    assert not world.store.parked("process_fulfilment") and not world.store.parked("process_notifying")

    on_hand: Counter[str] = Counter()
    reserved: dict[str, Counter[str]] = defaultdict(Counter)
    for event in world.events:
        fact: Any = CODEC.event(event)
        match event.type:
            case "StockReceived":
                on_hand[fact.sku] += fact.quantity
            case "StockReserved":
                reserved[fact.sku][fact.order_id] += fact.quantity
            case "StockReleased" | "StockIssued":
                reserved[fact.sku][fact.order_id] -= fact.quantity
                on_hand[fact.sku] -= fact.quantity if event.type == "StockIssued" else 0
        assert all(on_hand[sku] >= sum(reserved[sku].values()) >= 0 for sku in on_hand)
    assert all(count == 0 for by_order in reserved.values() for count in by_order.values()), "nothing is left reserved"

    placed = {fact.order_id: fact.total for fact in world.facts("OrderPlaced")}
    returned = {fact.order_id: fact.total for fact in world.facts("OrderReturned")}
    for key, total in placed.items():
        account = world.accounts[key]
        kept = total - returned.get(key, 0) if key in confirmed else 0
        assert (account.held, account.captured - account.refunded) == (0, kept), key
    told = Counter((notice.order_id, notice.kind) for notice in world.told.values())
    wanted = Counter((key, "confirmed") for key in confirmed) + Counter((key, "shipped") for key in confirmed)
    wanted += Counter((key, "refunded") for key in returned)
    wanted += Counter((key, "cancelled") for key in placed if key not in confirmed)
    assert told == wanted, "each is told once for each fact"
    reasons = Counter(fact.reason for fact in world.facts("OrderCancelled"))
    assert set(reasons) <= {"out-of-stock", "payment-declined", "payment-timeout", "changed my mind"}


def test_an_order_can_be_cancelled_by_hand_through_its_process() -> None:
    state = FULFILMENT.evolve(None, _placed())
    assert state is not None
    assert FULFILMENT.react(state, InstanceCancelled("fulfilment", "o", "x")) == [CancelOrder("o", "cancelled-by-hand")]
    assert FULFILMENT.evolve(None, InstanceRetried("fulfilment", "o", "x")) is None
    assert state.wanted == {"a": 5, "b": 1}
    assert FULFILMENT.key(_placed("none")) is None


def _placed(fulfilment: str = "automatic") -> Any:
    from twofold.shop.order.events import OrderPlaced
    from twofold.shop.values import Address, Line

    lines = (Line("a", "d", 2, 1), Line("b", "d", 1, 1), Line("a", "d", 3, 1))
    address = Address("A", "1", "L", "LS1", "UK")
    return OrderPlaced("o", "c", lines, address, "GBP", BEGIN + timedelta(0), fulfilment, 6, 6)
