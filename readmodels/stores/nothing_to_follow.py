"""What a store says of views that nobody folds behind the log: no checkpoint of their own, no builds, no parked keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.rows import Advance, Drain, Generation, ParkedKey, ParkedLine, Promises
from twofold.kernel.view import AnyView, SliceId


class NothingToFollow:
    """The part of the port ViewStore that is the same for all of them."""

    promises = Promises(is_atomic=True, commits_views_together=True)

    def builds(self, views: Collection[str]) -> list[Build]:
        """None that another could take the place of."""
        return []

    def swap(self, generation: Generation, position: int) -> bool:
        return False

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        """Nothing is ever dropped: inline rows are needed by appends, and the log knows which; live views have none."""

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        """None: an inline view is made whole by who migrates, a live one by who asks."""
        return None

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        return []

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        return False

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        """None: these rows are in the log's own database, or made of it, and go where it goes."""
        return {}

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """Refuses everything."""
        return set()

    def drain(self, drain: Drain) -> bool:
        return False

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        return []

    def parked_lines(self, view: str, only_requested: bool = False) -> list[ParkedLine]:
        return []

    def parked_counts(self) -> dict[str, int]:
        return {}

    def rekeyed(self, view: str) -> int | None:
        return None

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        return []

    def request_retry(self, view: str, key: str) -> bool:
        return False

    def discard(self, view: str, key: str) -> bool:
        return False
