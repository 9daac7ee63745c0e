"""Products and customers: registered once, changed where something is given, and shown as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from twofold.kernel.messages import Command
from twofold.shop.customer import (
    CUSTOMER,
    CustomerRegistered,
    LastLoginUpdated,
    ProfileUpdated,
    RegisterCustomer,
    UpdateLastLogin,
    UpdateProfile,
)
from twofold.shop.product import PRODUCT, ChangePrice, PriceChanged, ProductRegistered, RegisterProduct
from twofold.shop.views.catalogue import PRODUCTS, OfferRow
from twofold.shop.views.profiles import CUSTOMERS, ProfileRow
from twofold.testing import NOON, given, rows

MUG = ProductRegistered("mug", "MUG", 250, "kitchen")
ADA = CustomerRegistered("ada", "Ada", "ada@example.org", "1")
LATER = NOON + timedelta(hours=1)


def test_a_product_is_registered_once_and_costs_what_was_said_last() -> None:
    given(PRODUCT).when(RegisterProduct("mug", "MUG", 250, "kitchen")).then(MUG)
    given(PRODUCT, MUG, PriceChanged("mug", 300)).when(RegisterProduct("mug", "MUG", 250, "kitchen")).nothing_happened()
    given(PRODUCT, MUG).when(RegisterProduct("mug", "MUG", 251, "kitchen")).rejected("already-registered")
    given(PRODUCT, MUG).when(ChangePrice("mug", 300)).then(PriceChanged("mug", 300))
    given(PRODUCT, MUG, PriceChanged("mug", 300)).when(ChangePrice("mug", 300)).nothing_happened()
    given(PRODUCT, MUG, PriceChanged("mug", 300)).when(ChangePrice("mug", 250)).then(PriceChanged("mug", 250))
    given(PRODUCT).when(ChangePrice("mug", 300)).rejected("no-such-product")
    assert rows(PRODUCTS, MUG, PriceChanged("mug", 300)) == {"mug": OfferRow("mug", "MUG", 300, "kitchen")}


def test_a_customer_is_registered_once() -> None:
    given(CUSTOMER).when(RegisterCustomer("ada", "Ada", "ada@example.org", "1")).then(ADA)
    moved = ProfileUpdated("ada", None, "ada@example.com", None)
    given(CUSTOMER, ADA, moved).when(RegisterCustomer("ada", "Ada", "ada@example.org", "1")).nothing_happened()
    given(CUSTOMER, ADA).when(RegisterCustomer("ada", "Bob", "ada@example.org", "1")).rejected("already-registered")


@pytest.mark.parametrize("command", [UpdateProfile("ada", name="Bob"), UpdateLastLogin("ada")], ids=str)
def test_nothing_changes_about_a_customer_nobody_knows(command: Command) -> None:
    given(CUSTOMER).when(command).rejected("no-such-customer")  # type: ignore[arg-type]


def test_a_profile_changes_where_something_is_given_alone() -> None:
    """An empty phone is given; nothing is not."""
    given(CUSTOMER, ADA).when(UpdateProfile("ada", phone="")).then(ProfileUpdated("ada", None, None, ""))
    given(CUSTOMER, ADA).when(UpdateProfile("ada", name="Ada", email="a@b")).then(ProfileUpdated("ada", None, "a@b", None))
    given(CUSTOMER, ADA).when(UpdateProfile("ada")).nothing_happened()
    given(CUSTOMER, ADA).when(UpdateProfile("ada", name="Ada", phone="1")).nothing_happened()
    updated = ProfileUpdated("ada", None, "a@b", "")
    assert rows(CUSTOMERS, ADA, updated) == {"ada": ProfileRow("ada", "Ada", "a@b", "")}


def test_the_last_login_changes_nothing_else_and_never_goes_back() -> None:
    """Without a time it is the one at which the command was accepted, however late it is decided."""
    given(CUSTOMER, ADA).when(UpdateLastLogin("ada"), at=LATER).then(LastLoginUpdated("ada", LATER))
    given(CUSTOMER, ADA).when(UpdateLastLogin("ada", NOON), at=LATER).then(LastLoginUpdated("ada", NOON))
    seen = LastLoginUpdated("ada", LATER)
    given(CUSTOMER, ADA, seen).when(UpdateLastLogin("ada", LATER)).nothing_happened()
    given(CUSTOMER, ADA, seen).when(UpdateLastLogin("ada"), at=NOON).nothing_happened()
    assert CUSTOMER.decided(None, RegisterCustomer("ada", "Ada", "a@b"), datetime.now(UTC))
    assert rows(CUSTOMERS, ADA, seen) == {"ada": ProfileRow("ada", "Ada", "ada@example.org", "1", LATER)}
