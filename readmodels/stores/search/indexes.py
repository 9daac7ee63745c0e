"""The indexes of one deployment on a search server: one for each generation of a view, named `{prefix}-{view}-g{number}`.

The alias `{prefix}-{view}` is the live one's, for other people's tools.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

import msgspec

from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import STREAM_PREFIX, Generation
from twofold.readmodels.stores.search.documents import Json, id_of, index_settings
from twofold.readmodels.stores.search.http import NotThere, SearchClient
from twofold.readmodels.stores.search.ledger import Entry

BULK_BYTES_MAX = 8 << 20
GRAVE_SECONDS = 86_400.0
"""How long a deletion is remembered: a write that was meant to come before it does not take so long."""
GRAVES_MAX = 1_000
"""Swept at a time."""

DETAIL_CHARS_MAX = 300
WRITTEN = (200, 201)
IS_NEWER_THERE = 409


class Stored(NamedTuple):
    document: Json
    version: int


class Index:
    """One generation's."""

    def __init__(self, client: SearchClient, name: str) -> None:
        self._client = client
        self.name = name
        self._swept_at = time.monotonic()

    def make(self) -> None:
        """Empty, whatever was there."""
        with suppress(NotThere):
            self._client.ask("DELETE", f"/{self.name}")
        try:
            self._client.ask("PUT", f"/{self.name}", index_settings())
        except Unavailable as error:
            if "resource_already_exists" not in error.detail:  # by somebody who begins at the same time
                raise

    def documents(self, ids: Sequence[str]) -> dict[str, Stored]:
        """Those of these that are there, by id, as they are now, searched or not."""
        if not ids:
            return {}
        try:
            answer = self._client.ask("POST", f"/{self.name}/_mget", {"ids": list(ids)})
        except NotThere:
            return {}
        for one in answer["docs"]:
            if "error" in one and one["error"].get("type") != "index_not_found_exception":
                raise Unavailable(Neighbour.SEARCH, "server error", detail=str(one["error"])[:DETAIL_CHARS_MAX])
        return {one["_id"]: Stored(one["_source"], one["_version"]) for one in answer["docs"] if one.get("found")}

    def search(self, body: Json) -> Json:
        try:
            found: Json = self._client.ask("POST", f"/{self.name}/_search?allow_partial_search_results=false", body)
        except NotThere:
            return nothing(body)
        return found

    def write(self, entries: Sequence[Entry], is_awaited: bool) -> bool:
        """Each unless a newer one is there; seen by searches, where that `is_awaited`, when this returns. False where there is no
        such index."""
        for batch in _batches(entries):
            lines: list[Any] = []
            for entry in batch:
                name = entry.key if entry.key.startswith(STREAM_PREFIX) else id_of(entry.key)
                lines += [
                    {"index": {"_id": name, "version": entry.number, "version_type": "external"}},
                    msgspec.Raw(entry.document.encode()),
                ]
            if not self._bulk(lines, is_awaited):
                return False
        if time.monotonic() - self._swept_at > GRAVE_SECONDS / 24:
            self.sweep()
        return True

    def sweep(self, older_than_seconds: float = GRAVE_SECONDS) -> None:
        """Forget old deletions, some at a time."""
        self._swept_at = time.monotonic()
        before = (time.time() - older_than_seconds) * 1_000
        old = {"bool": {"filter": [{"term": {"live": False}}, {"range": {"at": {"lt": before}}}]}}
        hits = self.search({"size": GRAVES_MAX, "query": old, "version": True, "_source": False})["hits"]["hits"]
        deletions = [{"delete": {"_id": hit["_id"], "version": hit["_version"], "version_type": "external_gte"}} for hit in hits]
        if deletions:
            self._bulk(deletions, is_awaited=False)

    def _bulk(self, lines: Sequence[Any], is_awaited: bool) -> bool:
        asked = f"refresh={'true' if is_awaited else 'false'}&filter_path=errors,items.*.status,items.*.error"
        try:
            answer = self._client.send(f"/{self.name}/_bulk?{asked}", lines)
        except NotThere:
            return False
        for item in answer["items"] if answer["errors"] else []:
            [done] = item.values()
            if done["status"] == 404 and "index_not_found" in str(done.get("error")):
                return False
            if done["status"] not in (*WRITTEN, IS_NEWER_THERE, 404):
                detail = f"{done['status']} {str(done.get('error'))[:DETAIL_CHARS_MAX]}"
                raise Unavailable(Neighbour.SEARCH, "a document is refused", detail=detail, is_overload=done["status"] == 429)
        return True


class Indexes:
    """All of them. Thread-safe."""

    def __init__(self, client: SearchClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._known: dict[tuple[str, int], Index] = {}

    def of(self, generation: Generation) -> Index:
        name = generation.view, generation.number
        if name not in self._known:
            self._known[name] = Index(self._client, f"{self._stem(generation.view)}-g{generation.number}")
        return self._known[name]

    def name(self, generation: Generation) -> None:
        """Let the view's alias be this one's. One that is gone at this moment is named by whoever makes it anew."""
        stem = self._stem(generation.view)
        others = {"remove": {"index": f"{stem}-g*", "alias": stem, "must_exist": False}}
        added = {"add": {"index": self.of(generation).name, "alias": stem}}
        with suppress(NotThere):
            self._client.ask("POST", "/_aliases", {"actions": [others, added]})

    def keep(self, view: str, generations: Collection[Generation]) -> None:
        """Drop every other index of the view."""
        stem = self._stem(view)
        pattern = re.compile(rf"{re.escape(stem)}-g[0-9]+")
        wanted = {self.of(one).name for one in generations}
        there = self._client.ask("GET", f"/{stem}-g*?filter_path=*.aliases")
        for name in there:
            if pattern.fullmatch(name) and name not in wanted:
                self._client.ask("DELETE", f"/{quote(name)}")

    def ping(self) -> None:
        self._client.ask("GET", "/")

    def close(self) -> None:
        self._client.close()

    def _stem(self, view: str) -> str:
        """Names of indexes are in lower case."""
        lower = view.lower()
        return f"{self._prefix}-{lower if lower == view else f'{lower}_{crc32(view.encode()):08x}'}"


def nothing(asked: Json) -> Json:
    """What a search of no index finds."""
    facets: Json = {name: {"buckets": []} for name in asked.get("aggs", ()) if name.startswith("facet.")}
    markers = {"doc_count": 0, "position": {"value": None}, "parked": {"value": None}}
    found = {"everything": {"markers": markers}, **facets}
    return {"hits": {"hits": [], "total": {"value": 0}}, "aggregations": found}


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """In order, none too large to be taken."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry.document) > BULK_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.document)
    if batch:
        yield batch
