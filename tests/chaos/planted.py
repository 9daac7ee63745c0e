"""Twofold with one thing changed: `python -m tests.chaos.planted WHAT[,WHAT…] gateway|workers|readmodels|up …`.

Most are bugs that the checker has to catch; the others make faults likelier and must do no harm. Each replaces one method
of one class in this process, before the room starts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

SLOW_SECONDS = 0.6
"""Execution takes this much longer: long enough that a kill or a cut finds work under way every time."""
TORN_SECONDS = 0.2
NEWEST_EVENTS = 5


def ack_before_commit() -> None:
    """Bug: the broker is told that a delivery is done before it is executed."""
    from twofold.bus.dispatch.broker import LaneConsumer
    from twofold.bus.dispatch.lanes import Delivery, LaneMessage, Lanes

    hand_out, finish = LaneConsumer.__next__, Lanes.finish

    def settled_when_handed_out(self: LaneConsumer) -> Any:
        message = hand_out(self)
        if message is not None:
            self._transport.settle(message.args[0].messages)
        return message

    def nothing_left_to_settle(self: Lanes, delivery: Delivery) -> list[LaneMessage]:
        finish(self, delivery)
        return []

    _replace(LaneConsumer, "__next__", settled_when_handed_out)
    _replace(Lanes, "finish", nothing_left_to_settle)


def stale_tag() -> None:
    """Bug: every delivery is settled by its bare tag, on whichever channel the lane has by now."""
    from twofold.bus.dispatch.lanes import Delivery, LaneMessage, Lanes
    from twofold.bus.rabbitmq.transport import CONNECTION_ERRORS, RabbitTransport

    finish = Lanes.finish

    def settled_on_any_channel(self: Lanes, delivery: Delivery) -> list[LaneMessage]:
        finish(self, delivery)
        open_lanes = [lane for lane, state in self._lanes.items() if state.session is not None]
        return [batch for batch in delivery.messages if delivery.is_committed and batch.lane in open_lanes]

    def settled_one_by_one(self: RabbitTransport, batches: Sequence[LaneMessage]) -> None:
        try:
            for batch in batches:
                self._channels[batch.lane].basic_ack(batch.token)
        except CONNECTION_ERRORS as error:
            self._cut(error)

    _replace(Lanes, "finish", settled_on_any_channel)
    _replace(RabbitTransport, "settle", settled_one_by_one)


def checkpoint_before_rows() -> None:
    """Bug: the checkpoint is committed first, the rows in a transaction of their own."""
    from twofold.kernel.rows import Advance
    from twofold.kernel.view import SliceId
    from twofold.readmodels.stores.sql.store import SqlViewStore, write_rows

    def torn(self: SqlViewStore, advances: Sequence[Advance]) -> set[SliceId]:
        with self._transaction() as session:
            moved = self._checkpoints.move(session, advances)
        time.sleep(TORN_SECONDS)
        with self._transaction() as session:
            write_rows(session, [advance for advance in advances if advance.slice in moved], self._tables_of(advances))
        return moved

    _replace(SqlViewStore, "commit", torn)


def skipping_tailer() -> None:
    """Bug: a tailer that has fallen behind goes on from the newest events, not from its checkpoint."""
    from twofold.eventstore.postgres import PostgresLog
    from twofold.eventstore.postgres.pages import PostgresLogPages
    from twofold.kernel.log import Page

    page = PostgresLogPages.page

    def newest(self: PostgresLog, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        return page(self, max(after, self.head()[0] - NEWEST_EVENTS), limit, types)

    _replace(PostgresLogPages, "page", newest)


def blind_lag() -> None:
    """Bug: a view that stands on an event which is not in the log is taken for live."""
    import msgspec

    from twofold.monitoring import lag

    read_lag = lag.read_lag

    def blind(*arguments: Any) -> lag.Lag:
        found = read_lag(*arguments)
        views = {name: msgspec.structs.replace(view, state="live") for name, view in found.views.items()}
        return lag.Lag(found.head, views)

    _replace(lag, "read_lag", blind)


def folds_on() -> None:
    """Bug: a projector goes on from its position, whatever event it stands on."""
    from twofold.readmodels.projection.reader import SliceReader

    _replace(SliceReader, "_leave_diverged", lambda *_: None)


def publish_twice() -> None:
    """Hostile, not a bug: every batch of commands is published a second time once it is confirmed."""
    from twofold.bus.rabbitmq.publisher import RabbitPublisher

    publish = RabbitPublisher.publish

    async def twice(self: RabbitPublisher, lane: int, body: bytes) -> None:
        await publish(self, lane, body)
        await publish(self, lane, body)
        print(f"published twice: lane {lane}", flush=True)

    _replace(RabbitPublisher, "publish", twice)


def slow_execution() -> None:
    """Hostile, not a bug: executing takes its time."""
    from twofold.workers.execute import Executor

    execute = Executor.execute

    def slow(self: Executor, envelopes: Sequence[Any]) -> Any:
        time.sleep(SLOW_SECONDS)
        return execute(self, envelopes)

    _replace(Executor, "execute", slow)


def keep_leases() -> None:
    """Bug: who cannot renew its leases goes on as if it held them."""
    from twofold.lease_keeper import LeaseKeeper

    def no_watch(self: LeaseKeeper) -> None:
        return

    def held_for_ever(self: LeaseKeeper, renewed: frozenset[str] | None, until: float) -> None:
        if renewed is not None and renewed != self._held:
            self._on_held(renewed)
            self._held = renewed

    _replace(LeaseKeeper, "_watch", no_watch)
    _replace(LeaseKeeper, "_hold", held_for_ever)


PLANTED: dict[str, Callable[[], None]] = {
    "ack-before-commit": ack_before_commit,
    "stale-tag": stale_tag,
    "checkpoint-before-rows": checkpoint_before_rows,
    "skipping-tailer": skipping_tailer,
    "keep-leases": keep_leases,
    "blind-lag": blind_lag,
    "folds-on": folds_on,
    "publish-twice": publish_twice,
    "slow-execution": slow_execution,
}


def _replace(owner: type | ModuleType, name: str, method: Any) -> None:
    """A method, or a function, that is not there can no longer be replaced: the plant would be no plant."""
    if name not in vars(owner):
        raise AttributeError(f"{owner.__name__} has no {name} of its own any more")
    setattr(owner, name, method)


def main() -> None:
    from twofold.cli import main as run

    names = sys.argv.pop(1)
    for name in names.split(","):
        PLANTED[name]()
    run()


if __name__ == "__main__":
    main()
