"""The example domain is a domain, fits on a page, and its own test is run."""

from pathlib import Path

import examples.counter
from examples.counter import test_a_counter_counts_up_to_its_limit_and_no_further as test_the_example_tests_itself
from twofold.kernel.domain import domain_of

LINES_MAX = 60

__all__ = ["test_the_example_tests_itself"]


def test_the_example_is_a_domain() -> None:
    """Whoever copies it gets something that `TWOFOLD_DOMAIN` accepts."""
    domain = domain_of(examples.counter)
    assert set(domain.commands) == {"Count"}
    assert set(domain.views) == {"counters"}


def test_the_example_fits_on_one_page() -> None:
    """A new domain of one aggregate, one view and their test: under 60 lines is the promise."""
    assert len(Path(examples.counter.__file__).read_text().splitlines()) < LINES_MAX
