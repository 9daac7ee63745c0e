"""A domain on one page: counters that count up to a limit, a view of them, and their test.

Run it with `.venv/bin/twofold up --domain examples.counter`, then
`curl -X POST localhost:8080/commands/Count -H 'Content-Type: application/json' -d '{"counter_id": "visits"}'`.
"""

import msgspec

from twofold import About, Command, Decider, Event, Rejected, View
from twofold.testing import given, rows

LIMIT = 1_000


class Count(Command, frozen=True):
    counter_id: str
    by: int = 1


class Counted(Event, frozen=True):
    counter_id: str
    by: int


class Counter(msgspec.Struct, frozen=True):
    counter_id: str
    count: int


def decide(count: int, command: Count) -> list[Counted]:
    if not 0 <= count + command.by <= LIMIT:
        raise Rejected("out-of-range", count=count, limit=LIMIT)
    return [Counted(command.counter_id, command.by)] if command.by else []


def show(row: Counter | None, event: Counted, about: About) -> Counter:
    return Counter(event.counter_id, (row.count if row else 0) + event.by)


COUNTER = Decider[int, Count, Counted](
    "counter", "counter_id", (Count,), (Counted,), 0, decide, lambda count, event: count + event.by
)
COUNTERS = View[Counter, Counted]("counters", "counter_id", Counter, (Counted,), lambda event, about: (event.counter_id,), show)

DECIDERS, VIEWS = (COUNTER,), (COUNTERS,)


def test_a_counter_counts_up_to_its_limit_and_no_further() -> None:
    given(COUNTER).when(Count("visits", by=2)).then(Counted("visits", by=2))
    given(COUNTER).when(Count("visits", by=0)).nothing_happened()
    given(COUNTER, Counted("visits", by=LIMIT)).when(Count("visits")).rejected("out-of-range", count=LIMIT)
    assert rows(COUNTERS, Counted("visits", 2), Counted("visits", 3)) == {"visits": Counter("visits", 5)}
