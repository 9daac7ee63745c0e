"""Views on SQLite and PostgreSQL: one implementation, two dialects.

`connect` opens an engine for either; `SqlViewStore(engine)` is the port.
"""

from twofold.readmodels.stores.sql.connect import ask, connect
from twofold.readmodels.stores.sql.store import SqlViewStore

__all__ = ["SqlViewStore", "ask", "connect"]
