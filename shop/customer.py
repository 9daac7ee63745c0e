"""The customer: who it is, how to reach him, and when he was here last."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.values import Id, Moment, keep_in_utc

Email = Annotated[str, Meta(max_length=320, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$(?!\n)")]
Phone = Annotated[str, Meta(max_length=50)]


class CustomerRegistered(Event, frozen=True):
    """`phone` is empty where there is none."""

    customer_id: str
    name: str
    email: str
    phone: str


class ProfileUpdated(Event, frozen=True):
    """What is None stays as it was."""

    customer_id: str
    name: str | None
    email: str | None
    phone: str | None


class LastLoginUpdated(Event, frozen=True):
    customer_id: str
    at: datetime


class RegisterCustomer(Command, frozen=True):
    customer_id: Id
    name: Id
    email: Email
    phone: Phone = ""


class UpdateProfile(Command, frozen=True):
    """Only what is given changes; an empty `phone` takes the number away."""

    customer_id: Id
    name: Id | None = None
    email: Email | None = None
    phone: Phone | None = None


class UpdateLastLogin(Command, frozen=True):
    """Without `at`: when this command was accepted."""

    customer_id: Id
    at: Moment | None = None

    def __post_init__(self) -> None:
        keep_in_utc(self, "at")


class Customer(msgspec.Struct, frozen=True):
    registered: CustomerRegistered
    name: str
    email: str
    phone: str
    last_login_at: datetime | None = None


CustomerCommand = RegisterCustomer | UpdateProfile | UpdateLastLogin
CustomerEvent = CustomerRegistered | ProfileUpdated | LastLoginUpdated


def decide(customer: Customer | None, command: CustomerCommand, accepted_at: datetime) -> list[CustomerEvent]:
    if isinstance(command, RegisterCustomer):
        registered = CustomerRegistered(command.customer_id, command.name, command.email, command.phone)
        if customer is None:
            return [registered]
        if customer.registered == registered:
            return []
        raise Rejected("already-registered")
    if customer is None:
        raise Rejected("no-such-customer")
    if isinstance(command, UpdateProfile):
        return _update(customer, command)
    at = command.at or accepted_at
    is_news = customer.last_login_at is None or at > customer.last_login_at
    return [LastLoginUpdated(command.customer_id, at)] if is_news else []


def _update(customer: Customer, command: UpdateProfile) -> list[CustomerEvent]:
    name = command.name if command.name != customer.name else None
    email = command.email if command.email != customer.email else None
    phone = command.phone if command.phone != customer.phone else None
    if name is None and email is None and phone is None:
        return []
    return [ProfileUpdated(command.customer_id, name, email, phone)]


def evolve(customer: Customer | None, event: CustomerEvent) -> Customer | None:
    if isinstance(event, CustomerRegistered):
        return Customer(event, event.name, event.email, event.phone)
    if customer is None:
        return None
    if isinstance(event, LastLoginUpdated):
        return msgspec.structs.replace(customer, last_login_at=event.at)
    return msgspec.structs.replace(
        customer,
        name=customer.name if event.name is None else event.name,
        email=customer.email if event.email is None else event.email,
        phone=customer.phone if event.phone is None else event.phone,
    )


CUSTOMER = Decider[Customer | None, CustomerCommand, CustomerEvent](
    name="customer",
    key="customer_id",
    commands=(RegisterCustomer, UpdateProfile, UpdateLastLogin),
    events=(CustomerRegistered, ProfileUpdated, LastLoginUpdated),
    initial=None,
    decide=decide,
    evolve=evolve,
)
