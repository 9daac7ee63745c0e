"""`sales_by_hour`, `sales_by_day` and `sales_by_country`: orders and refunds when they happened; the same sums, three keys."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned
from twofold.shop.returns import ReturnRecorded
from twofold.shop.views.moments import Refund, Sale, happened_at

HOUR_CHARS = len("YYYY-MM-DDTHH")


class DayRow(msgspec.Struct, frozen=True):
    """`orders` and `units` count what was sold that day; minor units; `net` = `gross` - `refunded`, may be negative."""

    day: str
    orders: int = 0
    units: int = 0
    gross: int = 0
    refunded: int = 0
    net: int = 0


class HourRow(msgspec.Struct, frozen=True):
    """As DayRow, for one hour."""

    hour: str
    orders: int = 0
    units: int = 0
    gross: int = 0
    refunded: int = 0
    net: int = 0


class CountryRow(msgspec.Struct, frozen=True):
    """As DayRow, for the country the orders were placed for or the goods returned from."""

    country: str
    orders: int = 0
    units: int = 0
    gross: int = 0
    refunded: int = 0
    net: int = 0


SalesRow = TypeVar("SalesRow", DayRow, HourRow, CountryRow)


def day_of(event: Sale | Refund, about: About) -> tuple[str]:
    """YYYY-MM-DD, UTC."""
    return (happened_at(event, about).date().isoformat(),)


def hour_of(event: Sale | Refund, about: About) -> tuple[str]:
    """YYYY-MM-DDTHH, UTC."""
    return (happened_at(event, about).isoformat()[:HOUR_CHARS],)


def country_of(event: Sale | Refund, about: About) -> tuple[str]:
    return (event.shipping_address.country if isinstance(event, OrderPlaced) else event.country,)


def evolve_day(row: DayRow | None, event: Sale | Refund, about: About) -> DayRow:
    return _added(row or DayRow(about.key), event)


def evolve_hour(row: HourRow | None, event: Sale | Refund, about: About) -> HourRow:
    return _added(row or HourRow(about.key), event)


def evolve_country(row: CountryRow | None, event: Sale | Refund, about: About) -> CountryRow:
    return _added(row or CountryRow(about.key), event)


def _added(row: SalesRow, event: Sale | Refund) -> SalesRow:
    if isinstance(event, OrderPlaced):
        return msgspec.structs.replace(
            row,
            orders=row.orders + 1,
            units=row.units + event.units,
            gross=row.gross + event.total,
            net=row.net + event.total,
        )
    return msgspec.structs.replace(row, refunded=row.refunded + event.total, net=row.net - event.total)


SALES_BY_DAY = View[DayRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded](
    name="sales_by_day",
    key="day",
    row=DayRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded),
    keys=day_of,
    evolve=evolve_day,
)

SALES_BY_HOUR = View[HourRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded](
    name="sales_by_hour",
    key="hour",
    row=HourRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded),
    keys=hour_of,
    evolve=evolve_hour,
)

SALES_BY_COUNTRY = View[CountryRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded](
    name="sales_by_country",
    key="country",
    row=CountryRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded),
    keys=country_of,
    evolve=evolve_country,
)
