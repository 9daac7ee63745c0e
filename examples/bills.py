"""A rule across two aggregates: a customer with a bill that is not paid in time is put on hold until he pays.

Neither a bill nor a customer can say so alone. A process can: it hears of bills, waits, and sends what the rule wants to the
customer. Between the two there is a moment in which the bill is overdue and the customer not on hold yet: the rule holds
eventually, and never twice.
"""

from __future__ import annotations

import msgspec

from twofold import After, Command, Decider, Event, NoMore, Process, TimerFired, View
from twofold.testing import given, process

DAY = 86_400.0


class SendBill(Command, frozen=True):
    bill_id: str
    customer_id: str
    amount: int
    days: float = 14.0


class PayBill(Command, frozen=True):
    bill_id: str


class BillSent(Event, frozen=True):
    bill_id: str
    customer_id: str
    amount: int
    days: float


class BillPaid(Event, frozen=True):
    bill_id: str


class PutOnHold(Command, frozen=True):
    customer_id: str
    bill_id: str


class Release(Command, frozen=True):
    customer_id: str
    bill_id: str


class HeldBack(Event, frozen=True):
    customer_id: str
    bill_id: str


class Released(Event, frozen=True):
    customer_id: str
    bill_id: str


def decide_bill(state: str, command: SendBill | PayBill) -> list[BillSent | BillPaid]:
    match command:
        case SendBill() if not state:
            return [BillSent(command.bill_id, command.customer_id, command.amount, command.days)]
        case PayBill() if state == "sent":
            return [BillPaid(command.bill_id)]
    return []


BILL = Decider[str, SendBill | PayBill, BillSent | BillPaid](
    name="bill",
    key="bill_id",
    commands=(SendBill, PayBill),
    events=(BillSent, BillPaid),
    initial="",
    decide=decide_bill,
    evolve=lambda state, event: "sent" if isinstance(event, BillSent) else "paid",
)


def decide_customer(bills: frozenset[str], command: PutOnHold | Release) -> list[HeldBack | Released]:
    match command:
        case PutOnHold() if command.bill_id not in bills:
            return [HeldBack(command.customer_id, command.bill_id)]
        case Release() if command.bill_id in bills:
            return [Released(command.customer_id, command.bill_id)]
    return []


def held_back(bills: frozenset[str], event: HeldBack | Released) -> frozenset[str]:
    return bills | {event.bill_id} if isinstance(event, HeldBack) else bills - {event.bill_id}


CUSTOMER = Decider[frozenset[str], PutOnHold | Release, HeldBack | Released](
    name="customer",
    key="customer_id",
    commands=(PutOnHold, Release),
    internal=(PutOnHold, Release),
    events=(HeldBack, Released),
    initial=frozenset(),
    decide=decide_customer,
    evolve=held_back,
)


class Unpaid(msgspec.Struct, frozen=True):
    bill_id: str
    customer_id: str
    is_overdue: bool = False
    is_paid: bool = False


def evolve(unpaid: Unpaid | None, event: Event) -> Unpaid | None:
    if isinstance(event, BillSent):
        return Unpaid(event.bill_id, event.customer_id)
    if unpaid is None:
        return None
    match event:
        case BillPaid():
            return msgspec.structs.replace(unpaid, is_paid=True)
        case TimerFired(timer="overdue"):
            return msgspec.structs.replace(unpaid, is_overdue=True)
    return unpaid


def react(unpaid: Unpaid, event: Event) -> list[After | NoMore | Command]:
    match event:
        case BillSent():
            return [After("overdue", event.days * DAY)]
        case TimerFired(timer="overdue"):
            return [PutOnHold(unpaid.customer_id, unpaid.bill_id)]
        case BillPaid():
            return [NoMore("overdue"), *([Release(unpaid.customer_id, unpaid.bill_id)] if unpaid.is_overdue else [])]
    return []


UNPAID_BILL = Process[Unpaid, BillSent | BillPaid](
    name="unpaid_bill",
    state=Unpaid,
    on=(BillSent, BillPaid),
    key=lambda event: event.bill_id,
    evolve=evolve,
    react=react,
    is_done=lambda unpaid: unpaid.is_paid,
    limit_seconds=90 * DAY,
)


class CustomerRow(msgspec.Struct, frozen=True):
    customer_id: str
    holds: int = 0


CUSTOMERS = View[CustomerRow, HeldBack | Released](
    name="customers",
    key="customer_id",
    row=CustomerRow,
    on=(HeldBack, Released),
    keys=lambda event, about: [event.customer_id],
    evolve=lambda row, event, about: CustomerRow(
        about.key, (row.holds if row else 0) + (1 if isinstance(event, HeldBack) else -1)
    ),
)

DECIDERS, VIEWS, PROCESSES = (BILL, CUSTOMER), (CUSTOMERS,), (UNPAID_BILL,)


def test_a_bill_that_is_paid_in_time_has_no_consequences() -> None:
    bill = process(UNPAID_BILL).given(BillSent("b1", "ann", 500, days=14)).after(days=13).nothing_happened()
    paid = bill.when(BillPaid("b1")).nothing_happened()
    assert paid.is_done and paid.state == Unpaid("b1", "ann", is_paid=True)
    paid.after(days=100).nothing_happened()


def test_who_does_not_pay_is_put_on_hold_once_until_he_does() -> None:
    late = process(UNPAID_BILL).given(BillSent("b1", "ann", 500, days=14)).after(days=14).sends(PutOnHold("ann", "b1"))
    late.after(days=100).nothing_happened()
    assert late.when(BillPaid("b1")).sends(Release("ann", "b1")).is_done


def test_a_customer_is_held_back_once_for_each_bill() -> None:
    given(CUSTOMER).when(PutOnHold("ann", "b1")).then(HeldBack("ann", "b1"))
    given(CUSTOMER, HeldBack("ann", "b1")).when(PutOnHold("ann", "b1")).nothing_happened()
    given(CUSTOMER, HeldBack("ann", "b1")).when(Release("ann", "b1")).then(Released("ann", "b1"))
    given(CUSTOMER).when(Release("ann", "b1")).nothing_happened()
