"""The documents tell the truth: the gateway is asked everything they allow, and much that they do not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import pytest
import schemathesis
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.system import gateway_domain
from tests.system.gateway_rig import BUS_DESCRIPTION, rig, unconnected
from twofold import shop
from twofold.gateway.app import ROUTES, application
from twofold.gateway.documents.asyncapi import asyncapi
from twofold.gateway.documents.openapi import openapi, path_of
from twofold.gateway.http.operation import Json
from twofold.gateway.http.problem import PROBLEM_TYPES
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.outcome import Outcome

EXAMPLES = 30
"""Requests for each operation."""
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

PAGES = {"/", "/console/data", *(f"/static/{name}" for name in ("page.css", "page.js", "docs.js", "console.js", "icon.svg"))}
"""What people's browsers load: in no document."""


def document_of(domain: Domain, **describe: str) -> Json:
    routes = application(unconnected(domain))[ROUTES]
    return openapi(domain.name, routes, describe)


schema = schemathesis.openapi.from_dict(document_of(domain_of(gateway_domain), version="1"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A whole embedded system on a thread, so that requests may come from anywhere."""
    addresses: list[str] = []
    is_up, is_done = Event(), Event()

    async def run(folder: Path) -> None:
        async with rig(folder) as running:
            await running.count("a", 3, Prefer="wait=5")
            addresses.append(running.url)
            is_up.set()
            while not is_done.is_set():
                await asyncio.sleep(0.05)

    thread = Thread(target=lambda: asyncio.run(run(tmp_path_factory.mktemp("openapi"))))
    thread.start()
    assert is_up.wait(20)
    yield addresses[0]
    is_done.set()
    thread.join(20)


def answers_as_the_document_says(label: str) -> Any:
    """A test of one operation, with an id of its own: those that schemathesis makes of all share one, and who runs tests side by
    side runs one of those."""

    @schema.include(name=label).parametrize()
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def test(case: Any, url: str) -> None:
        """Also what is malformed: a document that promises less than what happens is as wrong as one that promises more."""
        case.headers.pop("Accept", None)
        if case.headers.get("Prefer") is not None:
            case.headers["Prefer"] = "wait=0.05, handling=lenient"
        response = case.call(base_url=url, timeout=20)
        # A token from the future is answered 503, and rightly: that is the one 5xx that is no fault.
        case.validate_response(response, checks=CHECKS[1:] if response.status_code == 503 else CHECKS)

    return test


for _operation in cast(Any, schema).get_all_operations():
    _label = _operation.ok().label
    globals()[f"test_the_document_is_true_of_{re.sub(r'[^A-Za-z]+', '_', _label).strip('_')}"] = answers_as_the_document_says(
        _label
    )


def test_every_operation_has_a_test_of_its_own() -> None:
    made = [name for name in globals() if name.startswith("test_the_document_is_true_of_")]
    assert len(made) == len(list(schema.get_all_operations())) > 30


@pytest.mark.parametrize("domain", [domain_of(gateway_domain), domain_of(shop)], ids=lambda domain: domain.name)
def test_every_reference_in_the_documents_leads_somewhere(domain: Any) -> None:
    documents = (document_of(domain), asyncapi(domain, BUS_DESCRIPTION, {}))
    for document in documents:
        for reference in _references(document):
            part: Any = document
            for step in reference.removeprefix("#/").split("/"):
                part = part[step]


def test_every_command_and_view_of_the_domain_has_its_path() -> None:
    domain = domain_of(shop)
    document = document_of(domain, title="Shop", version="2")
    assert document["info"]["title"] == "Shop" and document["info"]["version"] == "2"
    for command in domain.commands:
        assert (f"/commands/{command}" in document["paths"]) == (command not in domain.internal)
    for name, view in domain.views.items():
        assert "get" in document["paths"][f"/views/{name}/{{key}}"]
        assert (f"/views/{name}" in document["paths"]) == view.is_stored, "what is not stored is not listed"
    types = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert types == [f"/problems/{name}" for name in PROBLEM_TYPES]


def undocumented(app: web.Application, document: Json) -> set[str]:
    """Paths of the router that no path of the document stands for, or stands for with another method."""
    documented = {
        (route.method, route.path)
        for route in app[ROUTES]
        for operation in route.operations
        if route.method.lower() in document["paths"].get(path_of(route, operation), ())
    }
    routed = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return {path for method, path in routed - documented if method != "HEAD"}


async def unanswered(app: web.Application, document: Json) -> set[str]:
    """Calls of the document that the router knows nothing of."""
    calls = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    found = set()
    for method, path in calls:
        asked = make_mocked_request(method, path.replace("{", "").replace("}", ""))
        if (await app.router.resolve(asked)).http_exception is not None:
            found.add(f"{method} {path}")
    return found


@pytest.mark.parametrize("domain", [domain_of(gateway_domain), domain_of(shop)], ids=lambda domain: domain.name)
async def test_every_route_is_in_the_document_and_every_call_of_the_document_has_a_route(domain: Domain) -> None:
    """A call that is not documented is not tested against the document; a page is no call."""
    app = application(unconnected(domain))
    document = document_of(domain)
    assert undocumented(app, document) == PAGES
    assert await unanswered(app, document) == set()


async def no_words(request: web.Request) -> web.Response:
    return web.Response()


async def test_a_route_without_a_word_and_a_word_without_a_route_are_seen() -> None:
    domain = domain_of(gateway_domain)
    app, document = application(unconnected(domain)), document_of(domain)
    app.router.add_post("/lag", no_words)
    document["paths"]["/nothing"] = {"get": {}}
    assert undocumented(app, document) == PAGES | {"/lag"}
    assert await unanswered(app, document) == {"GET /nothing"}


def test_every_part_of_a_path_is_a_described_parameter_and_every_header_and_problem_is_known() -> None:
    """Otherwise a page that lets people try a call would have nowhere to write the part."""
    for route in application(unconnected(domain_of(shop)))[ROUTES]:
        for operation in route.operations:
            parts = {part.partition("}")[0] for part in path_of(route, operation).split("{")[1:]}
            assert parts == {parameter.name for parameter in operation.parameters if parameter.location == "path"}
            assert set(operation.problems) <= set(PROBLEM_TYPES)


def test_operations_have_names_of_their_own() -> None:
    names = [operation.name for route in application(unconnected(domain_of(shop)))[ROUTES] for operation in route.operations]
    assert len(names) == len(set(names))


def test_what_the_bus_says_of_itself_is_what_the_document_shows() -> None:
    """Nothing of it is typed again: another bus, another document."""
    domain = domain_of(gateway_domain)
    described: Json = {
        "channels": {"news": {"address": "anywhere", "messages": {"told": {"$ref": "#/components/messages/told"}}}},
        "operations": {"hear": {"action": "receive", "channel": {"$ref": "#/channels/news"}}},
        "messages": {"told": {"summary": "Outcomes.", "contentType": "text/x", "payload": list[Outcome]}},
    }
    document = asyncapi(domain, described, {"title": "T"})
    assert (document["channels"], document["operations"]) == (described["channels"], described["operations"])
    payload = {"type": "array", "items": {"$ref": "#/components/schemas/Outcome"}}
    assert document["components"]["messages"] == {"told": described["messages"]["told"] | {"payload": payload}}
    assert set(document["components"]["schemas"]) == {"Clear", "Count", "Counted", "Outcome"}
    envelope = asyncapi(domain, BUS_DESCRIPTION, {})["components"]["schemas"]["Envelope"]["properties"]
    assert envelope["data"] == {"anyOf": [{"$ref": f"#/components/schemas/{tag}"} for tag in ("Count", "Clear")]}
    assert envelope["type"]["enum"] == ["Count", "Clear"]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
