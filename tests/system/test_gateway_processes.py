"""What processes are at, as a gateway tells it, and what somebody can do about an instance. Nothing is sent here: nobody runs the
room, a projector alone folds the instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import requests
import schemathesis

from tests.system import process_domain
from tests.system.gateway_rig import Answer, Rig, is_problem, rig, unconnected
from tests.system.process_domain import LIMIT_SECONDS
from twofold.gateway.app import ROUTES, application
from twofold.gateway.documents.openapi import openapi
from twofold.kernel.codec import encode
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.process import GiveUpCall

ERRANDS = "/processes/errands"
SECONDS_MAX = 10.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, module=process_domain) as made:
        yield made


async def begin(running: Rig, name: str, **fields: Any) -> None:
    """Shown when this returns, unless it is a poison."""
    sent = await running.call("POST", "/commands/Begin", {"errand_id": name} | fields, Prefer="wait=10")
    assert sent.status == 200, sent.json
    await shown(running, lambda answer: answer.status == 200, f"{ERRANDS}/{quote(name, safe='')}")


async def end(running: Rig, name: str) -> None:
    await running.call("POST", "/commands/End", {"errand_id": name}, Prefer="wait=10")
    await shown(running, lambda answer: answer.json["status"] == "done", f"{ERRANDS}/{name}")


async def give_up(running: Rig, name: str) -> None:
    """As the room does whose calls are in vain."""
    command = GiveUpCall(f"errands/{name}", "errands", name, "call-1", "mail", {"to": "a"}, "nobody answers")
    data = encode(command)
    fingerprint = fingerprint_of("GiveUpCall", data)
    stream = f"process-errands/{name}"
    await running.parts.queue.put(
        Envelope(new_command_id(), "GiveUpCall", stream, msgspec.Raw(data), fingerprint, running.clock.now())
    )
    await shown(running, lambda answer: bool(answer.json["given_up"]), f"{ERRANDS}/{quote(name, safe='')}")


async def shown(running: Rig, wanted: Callable[[Answer], bool], path: str) -> Answer:
    for _ in range(int(SECONDS_MAX / 0.05)):
        answer = await running.call("GET", path)
        if wanted(answer):
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} never became so: {answer.json}")


async def keys(running: Rig, state: str | None = None, limit: int = 1) -> list[str]:
    """Through all pages, as small as can be."""
    found, cursor = [], None
    while True:
        asked = "&".join(f"{name}={value}" for name, value in (("state", state), ("cursor", cursor), ("limit", limit)) if value)
        page = await running.call("GET", f"{ERRANDS}?{asked}")
        assert page.status == 200, page.json
        assert len(page.json["items"]) <= limit
        found += [item["key"] for item in page.json["items"]]
        cursor = page.json["next"]
        assert (cursor is not None) == ("Link" in page.headers)
        if cursor is None:
            return found


async def one_of_each(running: Rig) -> None:
    for name in ("fresh", "broken", "dropped", "finished", "old"):
        await begin(running, name)
    await give_up(running, "broken")
    await running.call("POST", f"{ERRANDS}/dropped/cancel", {"reason": "by hand"}, Prefer="wait=10")
    await shown(running, lambda answer: answer.json["status"] == "cancelled", f"{ERRANDS}/dropped")
    await end(running, "finished")
    await begin(running, "poisoned", is_poison=True)


async def test_instances_are_told_by_state_page_by_page_and_none_twice(running: Rig) -> None:
    """A parked one is stuck whatever its row says, and also where it has none yet."""
    await one_of_each(running)
    await begin(running, "finished", is_poison=True)
    await shown(running, lambda answer: answer.json["parked"] is not None, f"{ERRANDS}/finished")
    assert await keys(running) == ["broken", "dropped", "finished", "fresh", "old"]
    assert await keys(running, "running") == ["fresh", "old"]
    assert await keys(running, "done") == []
    assert await keys(running, "cancelled") == ["dropped"]
    assert await keys(running, "stuck") == ["broken", "finished", "poisoned"]
    assert await keys(running, "stuck", 2) == await keys(running, "stuck", 1_000) == ["broken", "finished", "poisoned"]
    (told,) = [one for one in (await running.call("GET", "/processes")).json["processes"] if one["name"] == "errands"]
    assert told["instances"] == {"running": 2, "stuck": 3, "done": 0, "cancelled": 1}
    running.clock.ahead_seconds = LIMIT_SECONDS + 1
    assert await keys(running, "running") == []
    assert await keys(running, "stuck") == ["broken", "fresh", "old", "finished", "poisoned"]
    (told, other) = (await running.call("GET", "/processes")).json["processes"]
    assert told["instances"] == {"running": 0, "stuck": 5, "done": 0, "cancelled": 1}
    assert told["at_least"] == [] and other["instances"] == {"running": 0, "stuck": 0, "done": 0, "cancelled": 0}
    silent = (await running.call("GET", f"{ERRANDS}/old")).json
    assert (silent["status"], silent["stuck_because"]) == ("stuck", ["silent"])


async def test_a_process_says_what_it_hears_how_far_it_is_and_since_when_its_timers_are_due(running: Rig) -> None:
    await begin(running, "a", minutes=10)
    answer = await shown(running, lambda answer: answer.json["processes"][0]["position"] == 1, "/processes")
    (told, other) = answer.json["processes"]
    assert (told["name"], told["view"], told["limit_seconds"]) == ("errands", "process_errands", LIMIT_SECONDS)
    assert (told["hears"], other["hears"]) == (["Begun", "Ended"], ["Begun"])
    assert told["state"] == "live" and told["lag_events"] == 0 and told["timers_due_seconds"] == 0
    running.clock.ahead_seconds = 11 * 60
    (told, other) = (await running.call("GET", "/processes")).json["processes"]
    assert 60 <= told["timers_due_seconds"] < 120 and other["timers_due_seconds"] == 0


async def test_an_instance_says_what_it_waits_for(running: Rig) -> None:
    await begin(running, "a/b", minutes=10)
    await give_up(running, "a/b")
    told = (await running.call("GET", f"{ERRANDS}/a%2Fb")).json
    assert (told["status"], told["stuck_because"]) == ("stuck", ["call-given-up"])
    assert told["state"] == {"errand_id": "a/b", "undo": False, "is_ended": False}
    assert [one["timer"] for one in told["timers"]] == ["late", "later"] and told["due"] == told["timers"][0]["due"]
    assert told["given_up"] == [{"call_id": "call-1", "effect": "mail", "request": {"to": "a"}, "error": "nobody answers"}]
    assert told["parked"] is None and told["since"] < told["heard_at"]
    stream = await running.call("GET", told["links"]["stream"])
    assert [event["type"] for event in stream.json["events"]] == ["CallGivenUp"]
    assert (await running.call("GET", told["links"]["row"])).json["status"] == "stuck"


async def test_what_is_parked_says_why_and_a_retry_of_it_is_a_retry_of_its_key(
    running: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(running, "a", is_poison=True)
    told = (await running.call("GET", f"{ERRANDS}/a")).json
    assert (told["status"], told["stuck_because"], told["state"]) == ("stuck", ["parked"], None)
    assert "a process with a bug" in told["parked"]["error"] and told["parked"]["attempts"] == 1
    assert (await running.call("GET", f"/parked/{told['parked']['ref']}")).json["key"] == "a"
    monkeypatch.setattr(process_domain, "MENDED", [True])
    answer = await running.call("POST", f"{ERRANDS}/a/retry", {"reason": "mended"})
    assert answer.status == 202
    await shown(running, lambda answer: answer.json["status"] == "running" and not answer.json["parked"], f"{ERRANDS}/a")


async def test_a_retry_is_a_command_of_its_own_that_can_be_waited_for_and_asked_for_again(running: Rig) -> None:
    await begin(running, "a")
    await give_up(running, "a")
    answer = await running.call("POST", f"{ERRANDS}/a/retry", {"reason": "it is back"}, Prefer="wait=10")
    assert (answer.status, answer.json["status"], answer.json["type"]) == (200, "succeeded", "RetryInstance")
    assert answer.headers["Consistency-Token"] == answer.json["command_id"]
    row = await running.call("GET", "/views/process_errands/a", Consistency_Token=answer.json["command_id"], Prefer="wait=10")
    assert (row.json["status"], row.json["given_up"]) == ("running", {})
    stream = (await running.call("GET", "/streams/process-errands%2Fa")).json
    assert [event["type"] for event in stream["events"]] == ["CallGivenUp", "InstanceRetried"]
    assert stream["events"][1]["data"] == {"process": "errands", "key": "a", "reason": "it is back"}


async def test_a_cancellation_is_heard_and_one_that_is_asked_for_twice_under_a_key_happens_once(running: Rig) -> None:
    """Also when the first has had its effect: whoever lost the answer asks again."""
    await begin(running, "a")
    path, said = f"{ERRANDS}/a/cancel", {"reason": "nobody wants it"}
    first = await running.call("POST", path, said, Idempotency_Key="k")
    assert (first.status, first.json["status"], first.json["stream"]) == (202, "accepted", "process-errands/a")
    await shown(running, lambda answer: answer.json["status"] == "cancelled", f"{ERRANDS}/a")
    again = await running.call("POST", path, said, Idempotency_Key="k")
    assert (again.status, again.json["command_id"]) == (202, first.json["command_id"])
    assert len((await running.call("GET", "/streams/process-errands%2Fa")).json["events"]) == 1
    is_problem(await running.call("POST", path, {"reason": "else"}, Idempotency_Key="k"), 422, "key-reused")


async def test_what_compensates_goes_on_when_it_is_cancelled(running: Rig) -> None:
    await begin(running, "a", undo=True)
    await running.call("POST", f"{ERRANDS}/a/cancel", {"reason": "undo it"}, Prefer="wait=10")
    events = (await running.call("GET", "/streams/process-errands%2Fa")).json["events"]
    assert [event["type"] for event in events] == ["InstanceCancelled"]
    told = await shown(running, lambda answer: answer.json["since"] < answer.json["heard_at"], f"{ERRANDS}/a")
    assert told.json["status"] == "running"


@pytest.mark.parametrize("act", ["retry", "cancel"])
async def test_nothing_can_be_done_about_what_is_over_or_was_never_there(running: Rig, act: str) -> None:
    await begin(running, "a")
    await end(running, "a")
    said = {"reason": "why not"}
    assert "it is done" in is_problem(await running.call("POST", f"{ERRANDS}/a/{act}", said), 409, "instance-over")["detail"]
    is_problem(await running.call("POST", f"{ERRANDS}/b/{act}", said), 404, "no-such-instance")
    is_problem(await running.call("POST", f"/processes/else/a/{act}", said), 404, "unknown-process")
    for body in (b"", b"{}", b'{"reason": ""}', b'{"reason": 1}', b'{"reason": "x", "by": "me"}', b"[", b'{"reason": "\\u0000"}'):
        is_problem(await running.call("POST", f"{ERRANDS}/a/{act}", body), 400, "malformed")
    assert (await running.call("GET", "/events")).json["head"] == 2


async def test_what_is_told_is_what_the_document_says(running: Rig) -> None:
    """Of instances in every state: the document's own tests find none."""
    await one_of_each(running)
    await begin(running, "waiting", minutes=10)
    routes = application(unconnected(domain_of(process_domain)))[ROUTES]
    document = schemathesis.openapi.from_dict(openapi("errands", routes, {}))
    told = [f"{ERRANDS}/{key}" for key in await keys(running)]
    for path, asked in [
        ("/processes", "/processes"),
        ("/processes/{name}", ERRANDS),
        *(("/processes/{name}/{key}", one) for one in told),
    ]:
        answer = await asyncio.to_thread(requests.get, running.url + asked, timeout=10)
        document[path]["GET"].validate_response(answer)


async def test_what_cannot_be_asked_is_refused(running: Rig) -> None:
    await one_of_each(running)
    is_problem(await running.call("GET", "/processes/else"), 404, "unknown-process")
    is_problem(await running.call("GET", f"{ERRANDS}/nobody"), 404, "no-such-instance")
    is_problem(await running.call("GET", f"{ERRANDS}?state=lost"), 400, "malformed")
    is_problem(await running.call("GET", f"{ERRANDS}?status=done"), 400, "malformed")
    cursor = (await running.call("GET", f"{ERRANDS}?limit=1")).json["next"]
    is_problem(await running.call("GET", f"{ERRANDS}?state=done&cursor={cursor}"), 400, "malformed")
    is_problem(await running.call("GET", f"{ERRANDS}?state=done&cursor=done.x"), 400, "malformed")


async def test_what_instances_are_told_is_not_for_clients_to_say(running: Rig) -> None:
    """It would be no retry of anything: nobody had looked whether there is such an instance."""
    told = {"instance": "errands/a", "process": "errands", "key": "a", "reason": "mine"}
    for name in ("RetryInstance", "CancelInstance"):
        is_problem(await running.call("POST", f"/commands/{name}", told), 403, "internal-command")
