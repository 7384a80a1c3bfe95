"""The role that SQL nodes read with: it can log in, and read the tables that it was granted.

It owns nothing, inherits nothing, and its sessions are read-only by default. Secrets of keys and
billing are in tables that it is not given unless somebody names them.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput
from aegis.workflows.store import roles as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database

__all__ = ["MEMORY_TABLES", "make_reader"]

#: What is granted where no table is named.
MEMORY_TABLES: Final = ("episodic_memory", "semantic_memory", "decision_log")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


async def make_reader(db: Database, *, role: str, tables: Sequence[str] = ()) -> str:
    """Make the role, or give it a new password and these tables alone; return its address.

    Raises:
        InvalidInput: a name cannot be, or is no table here.
        PermissionDenied: Aegis's own role may not make roles here.
    """
    if not _NAME.fullmatch(role) or role.startswith("pg_"):
        raise InvalidInput(f"role is {role[:60]!r}; use lower-case letters, digits and _.")
    wanted = list(tables) or list(MEMORY_TABLES)
    password = secrets.token_urlsafe(24)
    async with db.transaction() as conn:
        known = await store.list_tables(conn)
        missing = [name for name in wanted if name not in known]
        if missing and tables:
            raise InvalidInput(f"There is no table {missing[0]!r}.")
        await store.make_role(conn, role, password)
        await store.revoke_all(conn, role)
        await store.grant_read(conn, role, [name for name in wanted if name in known])
        past = None if db.pooling == "none" else db.settings.direct_database_url
        return store.address_of(conn, role, password, past=past)
