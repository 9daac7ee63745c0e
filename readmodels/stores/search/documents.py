"""Rows as documents of OpenSearch or Elasticsearch, and searches as it understands them. Pure; on disk.

    a row      _id: the key    live: true, key, words, by.{field}: its value in bytes that sort, row: as JSON, position
    a grave    _id: the key    live: false, at: when; so a write that comes late does not bring the row back
    a marker   _id: !stream/N  marker: of which filling of the index, position and parked: of slice N, as far as one sees

What one search sees it sees with the markers that belong to it: so an answer tells the checkpoint it was read at, whenever the
index was refreshed last. Values are compared by their bytes, as in Redis, so orders and ranges are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from twofold.kernel.rows import STREAM_PREFIX, Row, SearchPage
from twofold.kernel.view import AnyView
from twofold.kernel.zones import utc_decoder
from twofold.readmodels.schema.columns import Column, Columns
from twofold.readmodels.schema.highlights import highlights
from twofold.readmodels.schema.query import CheckedQuery, Span
from twofold.readmodels.schema.searching import FACET_VALUES_MAX, CheckedSearch, facet_text
from twofold.readmodels.schema.sortable import bounds, sortable, value_of
from twofold.readmodels.schema.words import Term, searched_words

Json = dict[str, Any]

ID_BYTES_MAX = 500
"""OpenSearch takes 512."""
KEYWORD: Json = {"type": "keyword"}
MARK, UNMARK = "\x01", "\x02"
_MARKED = re.compile(f"{MARK}([^{UNMARK}]*){UNMARK}")
SPELLINGS_MAX = 50
"""So many words that are spelt nearly as one are looked for."""


def index_settings() -> Json:
    """One shard, of which a search sees all at one moment. What is not refreshed by us is within a second."""
    return {
        "settings": {"index": {"number_of_shards": 1, "refresh_interval": "1s", "max_result_window": 10_000}},
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "live": {"type": "boolean"},
                "at": {"type": "long"},
                "key": KEYWORD,
                "marker": KEYWORD,
                "position": {"type": "long"},
                "parked": {"type": "long"},
                "words": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
                "row": {"type": "keyword", "index": False, "doc_values": False},
                "by": {"type": "object", "dynamic": True},
            },
            "dynamic_templates": [{"by": {"path_match": "by.*", "mapping": KEYWORD}}],
        },
    }


def id_of(key: str) -> str:
    encoded = key.encode()
    if key and len(encoded) <= ID_BYTES_MAX:
        return key
    return f"{STREAM_PREFIX}={blake2b(encoded, digest_size=32).hexdigest()}"


def marker_id(slice: int) -> str:
    return f"{STREAM_PREFIX}{slice}"


class Documents:
    """Of one view, as a generation has it."""

    def __init__(self, view: AnyView) -> None:
        self.view = view
        self.columns = Columns(view)
        self._ordered = [self.columns.by_name[name] for name in dict.fromkeys((*view.indexes, *view.orders)) if name != view.key]
        self._decode = utc_decoder(view.row)

    def packed(self, row: Row) -> str:
        """A row's document. Raises ValueError for what no store is to hold."""
        self.columns.encode(row.key, row.value)
        document = {
            "live": True,
            "key": row.key,
            "position": row.position,
            "words": " ".join(searched_words(self.view, row.value)),
            "by": {column.name: _text(column, column.encode(getattr(row.value, column.name))) for column in self._ordered},
            "row": msgspec.json.encode(row.value).decode(),
        }
        return msgspec.json.encode(document).decode()

    def row(self, document: Json) -> Row | None:
        """None for a grave."""
        return Row(document["key"], self._decode(document["row"].encode()), document["position"]) if document["live"] else None

    def question(self, asked: CheckedQuery | CheckedSearch, is_fuzzy: bool = False) -> Json:
        query = asked.query if isinstance(asked, CheckedSearch) else asked
        spans = (*([query.span] if query.span else []), *query.beside)
        body: Json = {
            "size": query.limit + 1,
            "_source": ["key", "live", "row", "position"],
            "query": {"bool": {"filter": [{"term": {"live": True}}, *self._filters(query.equal), *map(self._range, spans)]}},
            "sort": self._sort(query),
            "track_total_hits": False,
            "aggs": {"everything": {"global": {}, "aggs": {"markers": _markers()}}},
        }
        after = query.after
        if isinstance(asked, CheckedSearch):
            after = asked.after
            body |= {"track_total_hits": True, "track_scores": True}
            if asked.is_by_score:
                body["sort"] = [{"_score": "desc"}, {"key": "asc"}]
            if asked.terms is not None:
                body["query"]["bool"]["must"] = [_met(term, is_fuzzy) for term in asked.terms] or [{"match_none": {}}]
            if is_fuzzy and asked.is_highlighted:
                body["highlight"] = {"fields": {"words": {"number_of_fragments": 0}}, "pre_tags": [MARK], "post_tags": [UNMARK]}
            body["aggs"] |= {f"facet.{column.name}": _counts(column) for column in asked.facets}
        if after is not None:
            body["search_after"] = self._place(asked, query, *after)
        return body

    def page(self, asked: CheckedQuery | CheckedSearch, answer: Json, slices: int, is_fuzzy: bool = False) -> SearchPage:
        """What it answers. Where markers are missing it has been emptied, and shows nothing of the log."""
        search = asked if isinstance(asked, CheckedSearch) else None
        query = search.query if search else asked
        assert isinstance(query, CheckedQuery)
        hits = answer["hits"]["hits"]
        rows = [row for hit in hits if (row := self.row(hit["_source"])) is not None]
        page, is_more = rows[: query.limit], len(rows) > query.limit
        scores = [hit.get("_score") if search and search.terms is not None else None for hit in hits[: query.limit]]
        markers = answer["aggregations"]["everything"]["markers"]
        is_whole, parked = markers["doc_count"] == slices, markers["parked"]["value"]
        following = (search.cursor(page[-1], scores[-1]) if search else query.cursor(page[-1])) if is_more else None
        return SearchPage(
            rows=page,
            next=following,
            position=int(markers["position"]["value"]) if is_whole else 0,
            has_parked=parked is not None,
            parked=None if parked is None else int(parked),
            total=answer["hits"]["total"]["value"] if search else 0,
            facets={column.name: _counted(column, answer["aggregations"]) for column in (search.facets if search else ())},
            scores=scores,
            highlights=self._highlights(search, page, hits, is_fuzzy) if search else [],
        )

    def _highlights(
        self, asked: CheckedSearch, page: Sequence[Row], hits: Sequence[Json], is_fuzzy: bool
    ) -> list[dict[str, list[str]]]:
        values = [row.value for row in page]
        if not (is_fuzzy and asked.is_highlighted):
            return asked.highlights(values)
        met = {word for hit in hits for text in hit.get("highlight", {}).get("words", ()) for word in _MARKED.findall(text)}
        return highlights(self.view, values, met.__contains__)

    def _filters(self, equal: Iterable[tuple[Column, Any]]) -> list[Json]:
        return [
            {"term": {"key": value} if column is self.columns.key else {f"by.{column.name}": _text(column, value)}}
            for column, value in equal
        ]

    def _sort(self, query: CheckedQuery) -> list[Json]:
        direction = {"order": "desc" if query.descending else "asc"}
        key = {"key": direction}
        return [key] if query.order is None else [{f"by.{query.order.name}": direction | {"unmapped_type": "keyword"}}, key]

    def _place(self, asked: CheckedQuery | CheckedSearch, query: CheckedQuery, anchor: Any, key: str) -> list[Any]:
        if isinstance(asked, CheckedSearch) and asked.is_by_score:
            return [anchor, key]
        return [key] if query.order is None else [_text(query.order, anchor), key]

    def _range(self, span: Span) -> Json:
        if span.column is self.columns.key:
            return {"range": {"key": {"gte": span.start or "", **({} if span.end is None else {"lt": span.end})}}}
        start, behind = bounds(span)
        return {"range": {f"by.{span.column.name}": {"gte": start.decode(), "lt": behind.decode()}}}


def grave(at: int) -> str:
    return msgspec.json.encode({"live": False, "at": at}).decode()


def marker(filling: str, position: int, parked: int | None) -> Json:
    return {"marker": filling, "position": position, **({} if parked is None else {"parked": parked})}


def _text(column: Column, value: Any) -> str:
    """A plain value (see schema/columns.py)."""
    return sortable(column, value).decode()


def _met(term: Term, is_fuzzy: bool) -> Json:
    if term.is_prefix:
        return {"prefix": {"words": term.word}}
    if is_fuzzy and term.word.isalpha():  # the next number is another thing, not another spelling
        return {"fuzzy": {"words": {"value": term.word, "fuzziness": "AUTO", "max_expansions": SPELLINGS_MAX}}}
    return {"term": {"words": term.word}}


def _markers() -> Json:
    found = {"position": {"min": {"field": "position"}}, "parked": {"min": {"field": "parked"}}}
    return {"filter": {"exists": {"field": "marker"}}, "aggs": found}


def _counts(column: Column) -> Json:
    return {"terms": {"field": f"by.{column.name}", "size": FACET_VALUES_MAX, "exclude": ["0"]}}


def _counted(column: Column, aggregations: Mapping[str, Json]) -> dict[str, int]:
    buckets = aggregations[f"facet.{column.name}"]["buckets"]
    pairs = [(facet_text(value_of(column, bucket["key"])), bucket["doc_count"]) for bucket in buckets]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
