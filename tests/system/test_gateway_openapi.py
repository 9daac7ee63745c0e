"""The documents tell the truth: the gateway is asked everything they allow, and much that they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import twofold.gateway.documents.asyncapi
import twofold.gateway.documents.openapi
from tests.system import gateway_domain
from tests.system.gateway_rig import rig
from twofold import shop
from twofold.gateway.http.problem import KINDS
from twofold.kernel.domain import domain_of

EXAMPLES = 30
"""Requests for each operation."""
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

schema = schemathesis.openapi.from_dict(twofold.gateway.documents.openapi.openapi(domain_of(gateway_domain), {"version": "1"}))


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


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_call_answers_as_the_document_says(case: Any, url: str) -> None:
    """Also what is malformed: a document that promises less than what happens is as wrong as one that promises more."""
    case.headers.pop("Accept", None)
    if case.headers.get("Prefer") is not None:
        case.headers["Prefer"] = "wait=0.05, handling=lenient"
    response = case.call(base_url=url, timeout=20)
    # A token from the future is answered 503, and rightly: that is the one status of its kind that is no fault.
    case.validate_response(response, checks=CHECKS[1:] if response.status_code == 503 else CHECKS)


@pytest.mark.parametrize("domain", [domain_of(gateway_domain), domain_of(shop)], ids=lambda domain: domain.name)
def test_every_reference_in_the_documents_leads_somewhere(domain: Any) -> None:
    documents = (
        twofold.gateway.documents.openapi.openapi(domain, {}),
        twofold.gateway.documents.asyncapi.asyncapi(domain, 2, {}),
    )
    for document in documents:
        for reference in _references(document):
            place: Any = document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]


def test_every_command_and_view_of_the_domain_has_its_path() -> None:
    domain = domain_of(shop)
    document = twofold.gateway.documents.openapi.openapi(domain, {"title": "Shop", "version": "2"})
    assert document["info"]["title"] == "Shop" and document["info"]["version"] == "2"
    for command in domain.commands:
        assert "post" in document["paths"][f"/commands/{command}"]
    for view in domain.views:
        assert "get" in document["paths"][f"/views/{view}"] and "get" in document["paths"][f"/views/{view}/{{key}}"]
    kinds = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert kinds == [f"/problems/{name}" for name in KINDS]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
