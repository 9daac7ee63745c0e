"""The views that one room folds, and the rows it folds them into.

Rows have two projections: what is folded beside those that answer is attached to the second (foldable.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import twofold.readmodels.stores.redis
from twofold.deployment import Deployment
from twofold.kernel.errors import Unavailable
from twofold.kernel.instances import VIEW_PREFIX
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.stores import Where


class Followed:
    """`views` that follow the log. Opens their stores for this process."""

    def __init__(self, deployment: Deployment, views: Sequence[AnyView]) -> None:
        self._deployment = deployment
        self.views = views
        self.projection, self.beside = deployment.stores_of(views), deployment.stores_of(views)

    @property
    def by_store(self) -> list[list[AnyView]]:
        """In a list of their own those that one store holds and commits together."""
        apart: dict[Where, list[AnyView]] = {}
        for view in self.views:
            apart.setdefault(self._deployment.where(view), []).append(view)
        return list(apart.values())

    def foldable(self) -> list[Generation]:
        """Their generations, as far as their stores answer now. Raises Misconfigured where rows have not been made, or would not
        be kept."""
        found = self.projection.attach_all()
        views = self._deployment.domain.views
        in_redis = [one for one in found if self._deployment.where(views[one.view]) == "redis"]
        if in_redis:
            try:
                twofold.readmodels.stores.redis.refuse_eviction(self._deployment.settings.redis_url)
            except Unavailable:
                return [one for one in found if one not in in_redis]
        return found


def of_readmodels(deployment: Deployment) -> Followed:
    """Those that people look at."""
    return Followed(deployment, [view for view in _following(deployment) if not view.name.startswith(VIEW_PREFIX)])


def of_processes(deployment: Deployment) -> Followed:
    """The instances of processes."""
    return Followed(deployment, [view for view in _following(deployment) if view.name.startswith(VIEW_PREFIX)])


def _following(deployment: Deployment) -> list[AnyView]:
    return [view for view in deployment.domain.views.values() if view.sync == "async"]
