"""Views on SQLite and PostgreSQL: one implementation, two dialects.

`connect` opens an engine for either; `SqlViewStore(engine)` is the port. Views that are folded inside the append's own
transaction are answered by `InlineViewStore(engine)`, over an engine on the log's database.
"""

from readmodels.sql.connect import connect
from readmodels.sql.inline_store import InlineViewStore
from readmodels.sql.store import SqlViewStore

__all__ = ["InlineViewStore", "SqlViewStore", "connect"]
