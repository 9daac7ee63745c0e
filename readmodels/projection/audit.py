"""What the rows of a view should be: a fresh fold of the whole log, kept deliberately simple, to compare with."""

from __future__ import annotations

import msgspec

from twofold.kernel.codec import Codec
from twofold.kernel.ports import LogPages
from twofold.kernel.view import About, AnyView

PAGE_EVENTS = 1_000


def refold(events: LogPages, view: AnyView, codec: Codec, until: int | None = None) -> dict[str, msgspec.Struct]:
    """Every row of the view by key, after all events up to position `until` (default: the head when it gets there).

    A key is left as it was before the first event that could not be folded into it. The log is read page by page; the rows
    are held in memory.
    """
    rows: dict[str, msgspec.Struct] = {}
    broken: set[str] = set()
    through = 0
    while until is None or through < until:
        page = events.page(through, PAGE_EVENTS, view.listened)
        if page.through == through:
            break
        through = page.through
        for recorded in page.events:
            if until is not None and recorded.position > until:
                break
            event = codec.event(recorded)
            about = About(recorded.position, recorded.stream, recorded.version, recorded.recorded_at)
            for key, part in view.parts(event, about).items():
                if key not in broken:
                    _evolve(view, rows, broken, event, msgspec.structs.replace(about, key=key, part=part))
    return rows


def _evolve(view: AnyView, rows: dict[str, msgspec.Struct], broken: set[str], event: object, about: About) -> None:
    try:
        row = view.evolve(rows.get(about.key), event, about)
    except Exception:
        broken.add(about.key)
        return
    if row is None:
        rows.pop(about.key, None)
    else:
        rows[about.key] = row
