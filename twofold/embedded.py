"""Embedded: everything in this process, in two SQLite files; what passes between rooms passes through memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from functools import cached_property
from threading import Event
from typing import Any

from twofold.bus.dispatch.broker import LaneBroker
from twofold.bus.effects.dispatch import EffectBroker
from twofold.bus.effects.embedded import TableEffects
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.bus.embedded.publisher import command_queue
from twofold.bus.embedded.transport import EmbeddedBroker, renumber
from twofold.bus.outbox import Outbox
from twofold.database.sqlite import open_reader
from twofold.database.sqlite_file import SqliteFile
from twofold.deployment import Deployment
from twofold.eventstore.call_table import SqliteCallTable
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.leases import MemoryLeases
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import Epoch, LaneState
from twofold.kernel.letters import DeadLetters
from twofold.kernel.ports import Bell, InlineProjection, Leases, Log, Outcomes
from twofold.places import folder_of
from twofold.readmodels.inline.projection import SqlInlineProjection, SqliteInlineProjection


class EmbeddedDeployment(Deployment):
    """The ports of `twofold up`."""

    @cached_property
    def events(self) -> Log:
        return SqliteLog(self._file, self.settings.idempotency_positions)

    @cached_property
    def inline(self) -> InlineProjection | None:
        if not self._inline_views:
            return None
        inline = SqliteInlineProjection(self._inline_views, self.codec)
        self._file.write(inline.attach)
        return inline

    def rehearsal(self) -> tuple[SqlInlineProjection, Callable[[], AbstractContextManager[Any]]]:
        inline = SqliteInlineProjection(self._inline_views, self.codec)
        path = folder_of(self.settings) / "log.db"
        with closing(open_reader(path)) as connection:
            inline.attach(connection)
        return inline, lambda: closing(open_reader(path))

    def make_inline_tables(self) -> None:
        inline = SqliteInlineProjection(self._inline_views, self.codec)
        while not self._file.write(lambda writer: inline.build(writer, self.events)):
            pass
        self._file.write(lambda writer: inline.make(writer, self.events))

    @cached_property
    def leases(self) -> Leases:
        return MemoryLeases()

    @cached_property
    def bell(self) -> Bell:
        return LocalBell()

    @cached_property
    def outcomes(self) -> Outcomes:
        return LocalOutcomes()

    def new_command_queue(self, queue_seconds_max: float) -> Outbox:
        table = self._lane_table
        return command_queue(table, table.count(), self.lane_broker.wake, queue_seconds_max)

    @cached_property
    def lane_broker(self) -> LaneBroker:
        return EmbeddedBroker(self._lane_table)

    @cached_property
    def effects(self) -> EffectBroker:
        return TableEffects(SqliteCallTable(self._file), self.domain.effects)

    @cached_property
    def dead(self) -> DeadLetters:
        return self._lane_table

    def depths(self) -> Mapping[str, int]:
        waiting = self._lane_table.depths()
        by_lane = {str(lane): waiting.get(lane, 0) for lane in self.lane_state().newest.lanes}
        return by_lane | {"dead": self._lane_table.letters_count()}

    def lane_state(self) -> LaneState:
        return LaneState(Epoch(0, self._lane_table.count()))

    def set_lanes(self, count: int) -> Iterator[LaneState]:
        """In one transaction: the folder is ours alone, or opening it was refused; and nobody here uses the lanes."""
        if self.lane_state().newest.lane_count != count:
            if "lane_broker" in self.__dict__:
                raise Misconfigured(f"embedded, lanes change while nothing runs: stop `twofold up`, then `twofold lanes {count}`")
            renumber(self._lane_table, count)
        yield self.lane_state()

    def look_after_lanes(self, stop: Event) -> None:
        """Nothing is ever left."""

    @cached_property
    def _lane_table(self) -> SqliteLaneTable:
        table = SqliteLaneTable(self._file)
        count = table.count()
        if any(lane >= count for lane in table.depths()):
            renumber(table, count)  # filled by a release that let everybody begin with a number of his own
        return table

    @cached_property
    def _file(self) -> SqliteFile:
        file = SqliteFile(folder_of(self.settings) / "log.db")
        self._closing.callback(file.close)
        return file
