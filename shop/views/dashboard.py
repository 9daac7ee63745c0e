"""`customer_dashboard`: all that the shop knows of one customer on one page, folded when it is asked for."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec

from twofold.kernel.view import About, Through, View
from twofold.shop.customer import CustomerRegistered
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned, Status
from twofold.shop.views import profiles
from twofold.shop.views.customers import RECENT_COUNT, RecentOrder
from twofold.shop.views.moments import happened_at
from twofold.shop.views.orders import ORDERS, Moved, OrderRow, status_after

OPEN: tuple[Status, ...] = ("placed", "confirmed", "shipped")


class DashboardRow(msgspec.Struct, frozen=True):
    """A customer who only ever ordered has no profile: `name`, `email` and `phone` are empty then.

    `spent` is what the orders cost (minor units), `refunded` what of that was cancelled or came back; what was returned without
    an order is in `customer_orders`. `recent` is newest first, at most ten; `open` are the orders still on their way, by id.
    """

    customer_id: str
    name: str = ""
    email: str = ""
    phone: str = ""
    last_login_at: datetime | None = None
    orders: int = 0
    spent: int = 0
    refunded: int = 0
    recent: tuple[RecentOrder, ...] = ()
    open: tuple[str, ...] = ()


Known = profiles.Known | OrderPlaced | Moved


def keys(event: Known, about: About) -> tuple[str]:
    return (event.customer_id,)


def evolve(row: DashboardRow | None, event: Known, about: About) -> DashboardRow:
    row = row or DashboardRow(event.customer_id)
    if isinstance(event, profiles.Known):
        return _with_profile(row, event, about)
    if isinstance(event, OrderPlaced):
        order = RecentOrder(event.order_id, happened_at(event, about), event.total, event.currency, "placed")
        newest = sorted((*row.recent, order), key=lambda shown: (shown.placed_at, shown.order_id), reverse=True)
        return msgspec.structs.replace(
            row,
            orders=row.orders + 1,
            spent=row.spent + event.total,
            recent=tuple(newest[:RECENT_COUNT]),
            open=tuple(sorted((*row.open, event.order_id))),
        )
    status = status_after(event)
    return msgspec.structs.replace(
        row,
        refunded=row.refunded + (event.total if isinstance(event, OrderCancelled | OrderReturned) else 0),
        recent=tuple([msgspec.structs.replace(o, status=status) if o.order_id == event.order_id else o for o in row.recent]),
        open=row.open if status in OPEN else tuple([order_id for order_id in row.open if order_id != event.order_id]),
    )


def _with_profile(row: DashboardRow, event: profiles.Known, about: About) -> DashboardRow:
    """As `customers` shows it, which knows nobody before he has registered."""
    before = profiles.ProfileRow(row.customer_id, row.name, row.email, row.phone, row.last_login_at)
    is_known = bool(row.name) or isinstance(event, CustomerRegistered)
    after = profiles.evolve(before, event, about) if is_known else None
    if after is None:
        return row
    profile = {name: getattr(after, name) for name in ("name", "email", "phone", "last_login_at")}
    return msgspec.structs.replace(row, **profile)


def own_stream(customer_id: str) -> tuple[str]:
    return (f"customer-{customer_id}",)


def order_stream(order: OrderRow) -> tuple[str]:
    return (f"order-{order.order_id}",)


CUSTOMER_DASHBOARD = View[DashboardRow, Known](
    name="customer_dashboard",
    key="customer_id",
    row=DashboardRow,
    on=(*get_args(profiles.Known), OrderPlaced, *get_args(Moved)),
    keys=keys,
    evolve=evolve,
    sync="live",
    streams=own_stream,
    through=(Through(ORDERS, "customer_id", order_stream),),
)
