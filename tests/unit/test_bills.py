"""The example of a process is a domain, and its own tests are run."""

import examples.bills
from examples.bills import test_a_bill_that_is_paid_in_time_has_no_consequences as test_the_example_pays_in_time
from examples.bills import test_a_customer_is_held_back_once_for_each_bill as test_the_example_holds_back_once
from examples.bills import test_who_does_not_pay_is_put_on_hold_once_until_he_does as test_the_example_holds_back_until_paid
from twofold.kernel.domain import domain_of

__all__ = ["test_the_example_holds_back_once", "test_the_example_holds_back_until_paid", "test_the_example_pays_in_time"]


def test_the_example_is_a_domain() -> None:
    domain = domain_of(examples.bills)
    assert set(domain.processes) == {"unpaid_bill"}
    assert set(domain.views) == {"customers", "process_unpaid_bill"}
