"""The way to PostgreSQL: a pool, transactions, and the server itself when none is given.

Nothing here knows a domain. `Database` is opened by whoever starts something and handed down;
a function whose first argument is `conn` runs in its caller's transaction and never commits, one
whose first argument is `db` opens its own short ones.
"""

from aegis.db.database import Connection, Cursor, Database, PoolFigures
from aegis.db.query import (
    execute,
    fetch_all,
    fetch_one,
    fetch_optional,
    fetch_value,
    update_one,
)

__all__ = [
    "Connection",
    "Cursor",
    "Database",
    "PoolFigures",
    "execute",
    "fetch_all",
    "fetch_one",
    "fetch_optional",
    "fetch_value",
    "update_one",
]
