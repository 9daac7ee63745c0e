"""`customers`: who each customer is, how to reach him, and when he was here last."""

from __future__ import annotations

from datetime import datetime

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.customer import CustomerRegistered, LastLoginUpdated, ProfileUpdated


class ProfileRow(msgspec.Struct, frozen=True):
    """`phone` is empty where there is none; `last_login_at` is None until the first time."""

    customer_id: str
    name: str
    email: str
    phone: str
    last_login_at: datetime | None = None


Known = CustomerRegistered | ProfileUpdated | LastLoginUpdated


def keys(event: Known, about: About) -> tuple[str]:
    return (event.customer_id,)


def evolve(row: ProfileRow | None, event: Known, about: About) -> ProfileRow | None:
    if isinstance(event, CustomerRegistered):
        return ProfileRow(event.customer_id, event.name, event.email, event.phone)
    if row is None:
        return None
    if isinstance(event, LastLoginUpdated):
        return msgspec.structs.replace(row, last_login_at=event.at)
    given = {name: value for name in ("name", "email", "phone") if (value := getattr(event, name)) is not None}
    return msgspec.structs.replace(row, **given)


CUSTOMERS = View[ProfileRow, Known](
    name="customers",
    key="customer_id",
    row=ProfileRow,
    on=(CustomerRegistered, ProfileUpdated, LastLoginUpdated),
    keys=keys,
    evolve=evolve,
)
