"""The whole system with its searched rows in OpenSearch: what a user does, and what happens to an index."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.chaos.embedded import Embedded
from tests.chaos.rooms import wait_until
from twofold.client import Gateway
from twofold.readmodels.stores.search.http import SearchClient

DOMAIN = "tests.system.searched_domain"
SECONDS_MAX = 60.0


@pytest.fixture
def variables(search_url: str, unique: str) -> Iterator[dict[str, str]]:
    yield {"TWOFOLD_SEARCH_URL": search_url, "TWOFOLD_NAMESPACE": unique}
    client = SearchClient(search_url)
    for name in client.ask("GET", f"/{unique}-*?filter_path=*.aliases"):
        client.ask("DELETE", f"/{name}")
    client.close()


def asked(system: Embedded, path: str, token: str = "") -> Any:
    headers = {"Consistency-Token": token, "Prefer": "wait=20"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(system.room.url + path, headers=headers), timeout=SECONDS_MAX) as answer:
        return json.loads(answer.read())


def found(system: Embedded, q: str, token: str = "") -> set[str]:
    try:
        return {item["tally_id"] for item in asked(system, f"/views/searched?q={quote(q)}", token)["items"]}
    except urllib.error.HTTPError:
        return set()


def counted(system: Embedded, tally_id: str, colour: str) -> str:
    with Gateway(system.room.url) as gateway:
        body = {"tally_id": tally_id, "by": 1, "colour": colour}
        return str(gateway.send("Count", body).command_id)


def test_an_index_is_searched_lost_and_filled_anew_and_left_again(tmp_path: Path, variables: dict[str, str]) -> None:
    """With a token what was just written is found; without the URL rows in SQL go on from where they stood."""
    with Embedded(tmp_path, DOMAIN, variables) as system:
        for name, colour in (("north", "emerald"), ("south", "scarlet")):
            token = counted(system, name, colour)
            assert found(system, colour, token) == {name}, system.tails()
        assert found(system, "emreald") == {"north"}, "misspelt"
        assert asked(system, "/views/searched/north", token)["count"] == 1
        audit = urllib.request.Request(system.room.url + "/views/searched/audit", b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(audit, timeout=SECONDS_MAX) as answer:
            assert json.loads(answer.read())["differences"] == []
        client = SearchClient(variables["TWOFOLD_SEARCH_URL"])
        client.ask("DELETE", f"/{variables['TWOFOLD_NAMESPACE']}-searched-g1")
        client.close()
        wait_until("filled anew", lambda: found(system, "scarlet") == {"south"}, SECONDS_MAX, system.tails)
        assert found(system, "emerald", token) == {"north"}
    with Embedded(tmp_path, DOMAIN) as system:
        wait_until("in SQL", lambda: found(system, "scarlet", token) == {"south"}, SECONDS_MAX, system.tails)
        assert found(system, "emreald") == set()
        token = counted(system, "west", "amber")
        assert found(system, "amber", token) == {"west"}
    with Embedded(tmp_path, DOMAIN, variables) as system:
        assert found(system, "amber", token) == {"west"}, "and the index goes on from where it stood"
