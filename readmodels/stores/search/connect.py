"""Opens a search server. Nothing is asked yet."""

from __future__ import annotations

from twofold.readmodels.stores.search.http import SearchClient
from twofold.readmodels.stores.search.indexes import Indexes
from twofold.readmodels.stores.search.store import SearchViewStore
from twofold.readmodels.stores.sql.store import SqlViewStore


def connect(url: str, prefix: str, owner: SqlViewStore) -> SearchViewStore:
    """The view store on this server, all of whose indexes begin with the prefix; what it needs of SQL is the owner's. Raises
    Misconfigured."""
    return SearchViewStore(owner, Indexes(SearchClient(url), prefix))


def ask(url: str) -> str:
    """Whether it answers, and what it says it is. Raises Unavailable, WrongPassword and Misconfigured."""
    client = SearchClient(url)
    try:
        version = client.ask("GET", "/")["version"]
    finally:
        client.close()
    return f"{version.get('distribution', 'elasticsearch')} {version['number']}"
