"""The laws of scenarios with a system of their own are seen to be broken, each once, by hand."""

from __future__ import annotations

from tests.chaos.balancer import Asked
from tests.chaos.deploys import nothing_is_refused
from tests.chaos.rounds import lanes_go_on

REFUSED = "a deploy refuses nothing"


def test_a_deploy_may_close_connections_and_nothing_else() -> None:
    closed = {"ServerDisconnectedError": 3, "ClientConnectorError": 1}
    assert nothing_is_refused(closed, Asked(right=5, again=2), []) == []
    for retries in ({"503": 1}, {"429": 1}, {"item 503": 1}, {"TimeoutError": 1}, {"ClientPayloadError": 1}):
        assert [violation.law for violation in nothing_is_refused(closed | retries, Asked(), [])] == [REFUSED]
    assert [violation.law for violation in nothing_is_refused({}, Asked(refused=["tills/a: 503"]), [])] == [REFUSED]
    assert [violation.law for violation in nothing_is_refused({}, Asked(), ["none of 2 gateways was ready"])] == [REFUSED]


def test_a_stale_answer_during_a_deploy_is_seen() -> None:
    [violation] = nothing_is_refused({}, Asked(stale=["tills/a: 200 5, should have 6"]), [])
    assert violation.law == "who has written reads what he wrote"


def test_a_lane_that_nobody_takes_over_is_seen() -> None:
    assert lanes_go_on(9.0, 10.0) == lanes_go_on(100.0, None) == []
    assert [violation.law for violation in lanes_go_on(11.0, 10.0)] == ["lanes go to who can work on them"]
