"""What is parked and so not in the rows: whether that is what a token stands for."""

from __future__ import annotations

from collections.abc import Mapping

from twofold.gateway.commands.outcomes import OutcomeBoard
from twofold.gateway.http.headers import Token
from twofold.gateway.http.threads import Threads
from twofold.kernel.ports import ParkedLines
from twofold.kernel.rows import Found, RowPage
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import is_stream_key, stream_key


class QueryLines:
    """Lives on the event loop."""

    def __init__(
        self,
        lines: ParkedLines,
        board: OutcomeBoard,
        threads: Mapping[str, Threads],
    ) -> None:
        self._lines = lines
        self._board = board
        self._threads = threads

    async def is_in_line(self, view: AnyView, answer: Found | RowPage, token: Token, required: int, rekeyed: int | None) -> bool:
        """Whether an event that this token stands for, or one before it, waits in a line and so is not in these rows. `rekeyed`:
        from which position on one waits that concerns other rows than the one it is parked for: any of them may lack it."""
        if isinstance(answer, RowPage) and answer.parked is not None:
            return answer.parked <= required
        if isinstance(answer, RowPage):
            parked = await self._threads[view.name].run(lambda: self._lines.parked_lines(view.name))
            return any(line.position <= required for line in parked)
        if min(answer.parked or required + 1, rekeyed or required + 1) <= required:
            return True
        if not answer.has_parked_streams:
            return False
        outcome = self._board.outcome(token.command_id) if token.command_id is not None else None
        if outcome is not None:
            line = stream_key(outcome.stream)
            waiting = await self._threads[view.name].run(lambda: self._lines.waiting(answer.slice, line, 1))
            return bool(waiting) and waiting[0] <= required
        parked = await self._threads[view.name].run(lambda: self._lines.parked_lines(view.name))
        return any(is_stream_key(line.key) and line.slice == answer.slice and line.position <= required for line in parked)
