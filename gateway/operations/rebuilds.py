"""/views/{view}/rebuild: rows made anew beside those that answer, looked at, called off, and taken back.

This asks and tells; who folds, verifies and swaps is a projector (twofold/rebuilding.py), which finds it within a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from twofold.gateway.http.answers import encode
from twofold.gateway.http.operation import AWAY, CHANGING, COUNT, JSON, OBJECT, TEXT, Operation, Parameter, Reply, Route
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import COMMAND_BYTES_MAX, Params, read_body, view_of
from twofold.gateway.http.threads import Threads
from twofold.kernel.builds import Builds, Rebuild
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Detached, Malformed
from twofold.kernel.ports import Clock, History
from twofold.kernel.view import AnyView

PATH = "/views/{view}/rebuild"


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What may be said of a rebuild. `throttle`: at most so many events a second."""

    throttle: Annotated[float, msgspec.Meta(gt=0)] | None = None


class RebuildEndpoints:
    def __init__(self, domain: Domain, builds: Builds, history: History, clock: Clock, threads: Threads) -> None:
        self._domain = domain
        self._builds = builds
        self._history = history
        self._clock = clock
        self._threads = threads

    def routes(self) -> Iterable[Route]:
        return [
            Route("POST", PATH, self.post, (BEGIN,)),
            Route("GET", PATH, self.get, (SHOW,)),
            Route("DELETE", PATH, self.delete, (CANCEL,)),
            Route("POST", f"{PATH}/rollback", self.roll_back, (ROLL_BACK,)),
        ]

    async def post(self, request: web.Request) -> web.Response:
        view = self._view(request)
        body = await read_body(request, COMMAND_BYTES_MAX)
        try:
            wish = msgspec.json.decode(body, type=Wish) if body else Wish()
        except msgspec.DecodeError as error:
            raise Malformed(f'the body is {{"throttle": events a second}}, or empty: {error}') from error
        return await self._begin(view, wish.throttle or 0.0, None)

    async def roll_back(self, request: web.Request) -> web.Response:
        view = self._view(request)
        last = await self._threads.run(lambda: self._last(view))
        if last.state != "swapped":
            raise Problem("cannot-rebuild", f"the last rebuild is {last.state}: there is nothing to go back from")
        return await self._begin(view, 0.0, last.before)

    async def get(self, request: web.Request) -> web.Response:
        view = self._view(request)
        return _answer(200, await self._threads.run(lambda: self._shown(view)))

    async def delete(self, request: web.Request) -> web.Response:
        view = self._view(request)

        def cancel() -> Rebuild:
            cancelled = msgspec.structs.replace(self._last(view), state="cancelled")
            if not self._builds.note_rebuild(cancelled):
                raise Problem("cannot-rebuild", "the last rebuild is over")
            return cancelled

        return _answer(200, _told(await self._threads.run(cancel)))

    async def _begin(self, view: AnyView, throttle: float, again: int | None) -> web.Response:
        at = self._clock.now().timestamp()

        def begin() -> Rebuild | None:
            self._require_attached(view, again)
            return self._builds.rebuild(view, throttle, at, again)

        begun = await self._threads.run(begin)
        if begun is None:
            why = "rows are being built beside the live ones already, or the live ones are of another version of the view"
            raise Problem("cannot-rebuild", why if again is None else f"{why}, or there are none to go back to any more")
        return _answer(202, _told(begun))

    def _require_attached(self, view: AnyView, again: int | None) -> None:
        """What cannot be folded now is not begun. `again`: a generation that goes on from where it stands."""
        stands = {one.generation.number: one.position for one in self._builds.builds([view.name])} if again else {}
        try:
            self._history.page(stands.get(again or 0, 0), 1)
        except Detached as error:
            raise Problem("cannot-rebuild", str(error)) from error

    def _view(self, request: web.Request) -> AnyView:
        Params(request, VIEW)
        view = view_of(request, self._domain)
        if view.sync != "async":
            raise Problem("cannot-rebuild", WHY_NOT[view.sync])
        return view

    def _last(self, view: AnyView) -> Rebuild:
        found = self._builds.rebuilt([view.name])
        if not found:
            raise Problem("no-rebuild", "POST to this address begins one")
        return found[0]

    def _shown(self, view: AnyView) -> dict[str, Any]:
        last = self._last(view)
        positions = {one.generation.number: one.position for one in self._builds.builds([view.name])}
        position, head = positions.get(last.generation, 0), self._history.head()[0]
        seconds = self._clock.now().timestamp() - last.begun_at
        rate = max(0, position - last.begun_from) / seconds if seconds > 0 and not last.is_over else 0.0
        return _told(last) | {
            "throttle": last.throttle or None,
            "position": position,
            "head": head,
            "events_per_second": round(rate, 1),
            "seconds_left": round(max(0, head - position) / rate, 1) if rate else None,
            "differences": last.differences,
        }


def _told(rebuild: Rebuild) -> dict[str, Any]:
    return {"view": rebuild.view, "generation": rebuild.generation, "state": rebuild.state}


def _answer(status: int, value: Any) -> web.Response:
    return web.Response(body=encode(value), status=status, content_type=JSON, headers={"Cache-Control": "no-store"})


WHY_NOT = {
    "inline": "it is folded with the log itself: give it another `revision`, and `twofold migrate` makes its rows anew",
    "live": "nothing of it is stored: it is folded anew whenever it is asked for",
}
"""By `sync`, where nothing follows the log."""
VIEW = Parameter("path", "view", "The view's name.", TEXT)
BEGUN: Any = {
    "type": "object",
    "required": ["view", "generation", "state"],
    "properties": {
        "view": TEXT,
        "generation": COUNT,
        "state": {"enum": ["building", "verifying", "swapped", "cancelled", "failed"]},
    },
}
NUMBER: Any = {"type": ["number", "null"]}
SHOWN: Any = {
    "type": "object",
    "required": [*BEGUN["required"], "position", "head", "events_per_second", "seconds_left", "differences"],
    "properties": BEGUN["properties"]
    | {
        "throttle": NUMBER,
        "position": COUNT,
        "head": COUNT,
        "events_per_second": {"type": "number"},
        "seconds_left": NUMBER,
        "differences": {"type": "array", "items": OBJECT},
    },
}
OF_VIEW = ("malformed", "unknown-view", "cannot-rebuild", *AWAY)
BEGIN = Operation(
    name="rebuild",
    tag="views",
    summary="Make the rows of a view anew",
    description="They are built beside those that answer, compared with a fresh fold of the log, and swapped in.",
    parameters=(VIEW,),
    body={JSON: {"type": "object", "properties": {"throttle": {"type": "number", "exclusiveMinimum": 0}}}},
    replies={202: Reply("Begun.", BEGUN)},
    problems=(*CHANGING, "too-slow", "too-large", *OF_VIEW),
)
SHOW = Operation(
    name="showRebuild",
    tag="views",
    summary="How far the last rebuild of a view is",
    parameters=(VIEW,),
    replies={200: Reply("How far it is, and what was found.", SHOWN)},
    problems=("no-rebuild", *OF_VIEW),
)
CANCEL = Operation(
    name="cancelRebuild",
    tag="views",
    summary="Call a rebuild off",
    parameters=(VIEW,),
    replies={200: Reply("It is off, and what it had made is dropped.", BEGUN)},
    problems=(*CHANGING, "no-rebuild", *OF_VIEW),
)
ROLL_BACK = Operation(
    name="rollBackRebuild",
    tag="views",
    summary="Go back to the rows from before the last rebuild",
    description="They are folded on to the head first, and verified like any other.",
    parameters=(VIEW,),
    replies={202: Reply("Begun.", BEGUN)},
    problems=(*CHANGING, "no-rebuild", *OF_VIEW),
)
