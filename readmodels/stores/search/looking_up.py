"""Rows by their keys, in one look at an index, with where their slices stand and what of them is parked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twofold.kernel.rows import Found, ParkedLine
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.columns import is_stream_key, queryable_key, slice_for
from twofold.readmodels.stores.search.documents import id_of, marker_id
from twofold.readmodels.stores.search.indexes import Index
from twofold.readmodels.stores.search.ledger import Ledger


def look_up(
    table: Ledger, index: Index, keys: Sequence[str], lines_of: Callable[[str], list[ParkedLine]]
) -> tuple[list[Found], bool]:
    """One answer for each key, in order; and whether all of it is of one moment: the lines of parked keys are in SQL, and a row
    may have moved on since its marker was read. Where a marker is missing, so is everything."""
    slices = [slice_for(key, table.generation.slices) for key in keys]
    ids = [id_of(queryable_key(key)) for key in keys]
    there = index.documents([*map(marker_id, sorted(set(slices))), *dict.fromkeys(ids)])
    markers = {slice: there[marker_id(slice)].document for slice in set(slices) if marker_id(slice) in there}
    is_parked = any("parked" in one for one in markers.values())
    lines = lines_of(table.generation.view) if is_parked else []
    firsts = {slice: min((one.position for one in lines if one.slice.slice == slice), default=None) for slice in markers}
    is_whole = not is_parked or all(one.get("parked") == firsts[slice] for slice, one in markers.items())
    found = []
    for key, name, slice in zip(keys, ids, slices, strict=True):
        stored, marker = there.get(name), markers.get(slice, {"position": 0})
        row = table.documents.row(stored.document) if stored and slice in markers else None
        is_whole = is_whole and (row is None or row.position <= marker["position"])
        mine = [one for one in lines if one.slice.slice == slice]
        found.append(
            Found(
                row=row,
                slice=SliceId(table.generation.view, table.generation.number, slice),
                position=marker["position"],
                parked=next((one.position for one in mine if one.key == key), None),
                has_parked_streams=any(is_stream_key(one.key) for one in mine),
            )
        )
    return found, is_whole
