"""What the shop's processes ask of the outside: a payment provider, and whoever carries messages to customers."""

from __future__ import annotations

from typing import Literal

import msgspec

NoticeKind = Literal["confirmed", "cancelled", "shipped", "refunded"]


class AskAuthorisation(msgspec.Struct, frozen=True):
    """Hold so much of the customer's money, in minor units. Answered by RecordAuthorisation."""

    payment_id: str
    amount: int
    currency: str
    token: str


class AskCapture(msgspec.Struct, frozen=True):
    """Take what is held under this reference."""

    payment_id: str
    reference: str
    amount: int


class AskVoid(msgspec.Struct, frozen=True):
    """Hold nothing of this payment any more, and nothing that is asked for it later. `reference` is empty when none is known."""

    payment_id: str
    reference: str


class AskRefund(msgspec.Struct, frozen=True):
    """Give so much back of what was taken, which is `captured`. Calls overtake each other: one to give back may come before the
    one to take."""

    payment_id: str
    reference: str
    captured: int
    amount: int


class Notice(msgspec.Struct, frozen=True):
    """Tell the customer of an order something about it. `amount` is in minor units, of a refund; `detail` the reason of a
    cancellation or a refund, or with whom and under which number the order travels."""

    order_id: str
    customer_id: str
    kind: NoticeKind
    detail: str = ""
    amount: int = 0
