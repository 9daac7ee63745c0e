"""States of streams that nobody has kept, or in another shape: kept before what they were folded from is put away."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.errors import BUGS
from twofold.kernel.log import Snapshot
from twofold.kernel.ports import EventStore
from twofold.kernel.snapshots import SNAPSHOT_BYTES_MAX
from twofold.workers.deciding import UnitOfWork


def keep_states(domain: Domain, codec: Codec, events: EventStore, streams: Sequence[str]) -> int:
    """Fold these streams and keep their states, however short they are; how many. What cannot be folded or kept is left out."""
    work = UnitOfWork(domain, codec, {})
    for stream in streams:
        work.ask(stream, domain.decider_of_stream(stream))
    while work.asked:
        page = events.read(work.asked, work.shapes)
        for stream in list(work.asked):
            work.fold(stream, page)
    kept = {snapshot.stream: snapshot for snapshot in work.snapshots}
    for stream, folded in work.folded.items():
        decider = domain.decider_of_stream(stream)
        if decider is None or folded.last is None or folded.kept_version == folded.version:
            continue
        states = codec.states[decider.name]
        try:
            data = states.encode(folded.state) if states.shape else b""
        except BUGS:
            continue
        if 0 < len(data) <= SNAPSHOT_BYTES_MAX:
            kept[stream] = Snapshot(stream, states.shape, folded.last, data)
    if kept:
        events.append((), snapshots=list(kept.values()))
    return len(kept)
