"""That a customer was told something about an order: one stream for each order and kind of news, an event for each message."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.shop.values import Id

Told = tuple[str, ...]
"""The ids of the messages that were sent."""


class NotificationSent(Event, frozen=True):
    """`kind` is confirmed, cancelled, shipped or refunded; `message_id` begins the message's own."""

    order_id: str
    kind: str
    message_id: str


class RecordNotification(Command, frozen=True):
    """`notification` is `{order_id}/{kind}`, the key of its stream."""

    notification: Annotated[str, Meta(max_length=300)]
    order_id: Id
    kind: Id
    message_id: Id


def decide(told: Told, command: RecordNotification) -> list[NotificationSent]:
    if command.message_id in told:
        return []
    return [NotificationSent(command.order_id, command.kind, command.message_id)]


def evolve(told: Told, event: NotificationSent) -> Told:
    return (*told, event.message_id)


def notification_key(order_id: str, kind: str) -> str:
    return f"{order_id}/{kind}"


NOTIFICATION = Decider[Told, RecordNotification, NotificationSent](
    name="notification",
    key="notification",
    commands=(RecordNotification,),
    events=(NotificationSent,),
    initial=(),
    decide=decide,
    evolve=evolve,
    internal=(RecordNotification,),
)
