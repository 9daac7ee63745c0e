"""The chaos checker sees every kind of violation, and nothing where there is none.

A checker that stays silent proves nothing; each law here is broken once, by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.chaos.checker import Checker, Violation
from tests.chaos.record import Record, Sent
from tests.chaos.stores import Decided
from twofold.kernel.domain import load_domain
from twofold.kernel.log import Meta, Recorded
from twofold.kernel.view import AnyView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = load_domain("twofold.shop")
INVENTORY, STOCK = SHOP.views["inventory"].row, SHOP.views["stock"].row


@dataclass
class HandMade:
    """Stores as a test writes them down."""

    log: list[Recorded]
    outcomes: dict[str, Decided]
    inventory: dict[str, Any]
    stock: dict[str, Any]
    parked_lines: list[str] = field(default_factory=list)
    behind: int = 0

    def events(self, after: int) -> list[Recorded]:
        return [event for event in self.log if event.position > after]

    def head(self) -> int:
        return self.log[-1].position if self.log else 0

    def inbox(self, command_ids: Collection[str]) -> dict[str, Decided]:
        return {name: self.outcomes[name] for name in command_ids if name in self.outcomes}

    def has_outcomes(self, command_ids: Collection[str]) -> bool:
        return self.outcomes.keys() >= set(command_ids)

    def checkpoints(self) -> dict[str, list[int]]:
        return {name: [self.head(), self.head() - self.behind] for name in SHOP.views}

    def parked(self) -> list[str]:
        return self.parked_lines

    def rows(self, view: AnyView, keys: Collection[str] | None) -> dict[str, Any]:
        rows = {"inventory": self.inventory, "stock": self.stock}.get(view.name, {})
        return dict(rows) if keys is None else {key: rows[key] for key in keys if key in rows}


def adjusted(position: int, version: int, command: str, quantity: int = 1, stream: str = "stock-a") -> Recorded:
    data = msgspec.json.encode({"sku": "a", "quantity": quantity, "reason": "r", "adjusted_at": None})
    return Recorded(position, stream, version, "StockAdjusted", data, Meta(command, "anonymous"), NOW)


def decided(version: int, position: int, count: int = 1, status: str = "succeeded", events: int = 1) -> Decided:
    return Decided("stock-a", status, version, position, events, NOW, count)


def honest() -> tuple[HandMade, Record]:
    """Three adjustments and one that changed nothing, posted one after the other."""
    record = Record()
    for name in ("c1", "c2", "c3", "c4"):
        record.accept(Sent(name, "stock-a", "g", record.tick(), record.tick(), 1))
    log = [adjusted(1, 1, "c1", 5), adjusted(2, 2, "c2", 2), adjusted(3, 3, "c4", -1)]
    outcomes = {"c1": decided(1, 1), "c2": decided(2, 2), "c3": decided(2, 2, 1, "ignored", 0), "c4": decided(3, 3)}
    row = INVENTORY(sku="a", sold=0, returned=0, adjusted=6, on_hand=6)
    return HandMade(log, outcomes, {"a": row}, {"a": STOCK(sku="a", on_hand=6, reserved=0, available=6)}), record


def laws(stores: HandMade, record: Record) -> set[str]:
    return {violation.law for violation in found(stores, record)}


def found(stores: HandMade, record: Record) -> list[Violation]:
    checker = Checker(SHOP, stores)
    return checker.check(record) + checker.check_all_rows()


def test_an_honest_record_and_honest_stores_have_no_violation() -> None:
    assert found(*honest()) == []


def lose_the_outcome(stores: HandMade, record: Record) -> None:
    del stores.outcomes["c3"]


def give_two_outcomes(stores: HandMade, record: Record) -> None:
    stores.outcomes["c2"] = replace(stores.outcomes["c2"], count=2)


def park_a_command(stores: HandMade, record: Record) -> None:
    stores.outcomes["c3"] = replace(stores.outcomes["c3"], status="parked")


def leave_a_gap_in_the_log(stores: HandMade, record: Record) -> None:
    stores.log[2] = msgspec.structs.replace(stores.log[2], position=4)


def leave_a_gap_in_a_stream(stores: HandMade, record: Record) -> None:
    stores.log[2] = msgspec.structs.replace(stores.log[2], version=4)


def have_an_effect_twice(stores: HandMade, record: Record) -> None:
    stores.log.append(adjusted(4, 4, "c1", 5))


def have_an_effect_without_an_outcome(stores: HandMade, record: Record) -> None:
    stores.log.append(adjusted(4, 4, "c5"))
    record.unsure["stock-a"] = 1


def say_ignored_but_do_it(stores: HandMade, record: Record) -> None:
    stores.log.append(adjusted(4, 4, "c3"))


def do_what_nobody_asked_for(stores: HandMade, record: Record) -> None:
    stores.log.append(adjusted(4, 4, "ghost"))
    stores.outcomes["ghost"] = decided(4, 4)


def swap_two_commands(stores: HandMade, record: Record) -> None:
    stores.log[0], stores.log[1] = adjusted(1, 1, "c2", 2), adjusted(2, 2, "c1", 5)
    stores.outcomes["c1"], stores.outcomes["c2"] = decided(2, 2), decided(1, 1)


def decide_one_without_events_too_early(stores: HandMade, record: Record) -> None:
    stores.outcomes["c3"] = decided(1, 1, 1, "ignored", 0)


def show_a_wrong_row(stores: HandMade, record: Record) -> None:
    stores.inventory["a"] = msgspec.structs.replace(stores.inventory["a"], adjusted=7)


def lose_a_row(stores: HandMade, record: Record) -> None:
    del stores.inventory["a"]


def show_a_row_of_nothing(stores: HandMade, record: Record) -> None:
    stores.inventory["b"] = msgspec.structs.replace(stores.inventory["a"], sku="b")


def leave_a_slice_behind(stores: HandMade, record: Record) -> None:
    stores.behind = 1


def park_a_key(stores: HandMade, record: Record) -> None:
    stores.parked_lines.append("key a")


def answer_something_else(stores: HandMade, record: Record) -> None:
    record.refused.append("500")


def answer_with_another_id(stores: HandMade, record: Record) -> None:
    record.contradictions.append("k: c9")


@pytest.mark.parametrize(
    ("break_it", "law"),
    [
        (lose_the_outcome, "every command answered 202 has exactly one outcome"),
        (give_two_outcomes, "every command answered 202 has exactly one outcome"),
        (park_a_command, "no command is parked"),
        (leave_a_gap_in_the_log, "positions have no gap"),
        (leave_a_gap_in_a_stream, "stream versions run 1..n"),
        (have_an_effect_twice, "a command has its effect once, and its outcome says which"),
        (have_an_effect_without_an_outcome, "a command has its effect once, and its outcome says which"),
        (say_ignored_but_do_it, "a command has its effect once, and its outcome says which"),
        (do_what_nobody_asked_for, "every event belongs to an accepted command"),
        (swap_two_commands, "commands of one stream take effect in the order of their acceptance"),
        (decide_one_without_events_too_early, "commands of one stream take effect in the order of their acceptance"),
        (show_a_wrong_row, "views equal a fresh fold"),
        (lose_a_row, "views equal a fresh fold"),
        (show_a_row_of_nothing, "views equal a fresh fold"),
        (leave_a_slice_behind, "every checkpoint reaches the head"),
        (park_a_key, "no key is parked"),
        (answer_something_else, "a client is answered 202 or told to try again"),
        (answer_with_another_id, "one idempotency key, one command id"),
    ],
)
def test_every_broken_law_is_seen(break_it: Callable[[HandMade, Record], None], law: str) -> None:
    stores, record = honest()
    break_it(stores, record)
    assert law in laws(stores, record)


def test_commands_that_were_under_way_together_may_take_effect_in_either_order() -> None:
    stores, _ = honest()
    swap_two_commands(stores, Record())
    record = Record()
    for name, sent, accepted in (("c1", 0, 3), ("c2", 1, 2), ("c3", 4, 5), ("c4", 6, 7)):
        record.accept(Sent(name, "stock-a", "g", sent, accepted, 1))
    assert found(stores, record) == []


def test_a_command_whose_fate_the_client_never_learned_may_have_had_its_effect() -> None:
    stores, record = honest()
    del record.accepted["c2"]
    record.unsure["stock-a"] = 1
    assert found(stores, record) == []


def test_an_effect_that_comes_a_round_later_is_seen() -> None:
    stores, record = honest()
    checker = Checker(SHOP, stores)
    assert checker.check(record) == []
    stores.log.append(adjusted(4, 4, "c1", 0))
    stores.outcomes["c1"] = decided(4, 4)
    assert "no effect comes later than its round" in {violation.law for violation in checker.check(Record())}
