"""`notifications`: what customers were told about their orders, and when last."""

from __future__ import annotations

from datetime import datetime

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.notification import NotificationSent, notification_key


class NotificationRow(msgspec.Struct, frozen=True):
    """`notification` is `{order_id}/{kind}`; `messages` counts those of this kind, more than one where an order was refunded in
    parts."""

    notification: str
    order_id: str
    kind: str
    sent_at: datetime
    messages: int = 1


def keys(event: NotificationSent, about: About) -> tuple[str]:
    return (notification_key(event.order_id, event.kind),)


def evolve(row: NotificationRow | None, event: NotificationSent, about: About) -> NotificationRow:
    messages = 1 if row is None else row.messages + 1
    return NotificationRow(about.key, event.order_id, event.kind, about.recorded_at, messages)


NOTIFICATIONS = View[NotificationRow, NotificationSent](
    name="notifications",
    key="notification",
    row=NotificationRow,
    on=(NotificationSent,),
    keys=keys,
    evolve=evolve,
    indexes=("order_id",),
)
