"""Embedded or served: by which URLs are set. The one place that knows both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from twofold.deployment import Deployment
from twofold.embedded import EmbeddedDeployment
from twofold.kernel.domain import load_domain
from twofold.served import ServedDeployment
from twofold.settings import Settings


@contextmanager
def open_deployment(settings: Settings) -> Iterator[Deployment]:
    """Connects nothing yet; what was connected is disconnected, last first, when the block ends.

    This and every port of it may raise Misconfigured or Unavailable.
    """
    domain = load_domain(settings.domain_module)
    with ExitStack() as closing:
        deployment = EmbeddedDeployment if settings.is_embedded else ServedDeployment
        yield deployment(settings, domain, closing)


def migrate(settings: Settings, first_lanes: int | None = None) -> None:
    """Make or update every table. Safe to repeat, and while served rooms run."""
    with open_deployment(settings) as deployment:
        deployment.make_tables(first_lanes)
