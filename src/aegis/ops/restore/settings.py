"""Settings of databases and roles, as PostgreSQL stores them (`name=value`), said again in SQL."""

from __future__ import annotations

import re
from typing import Final

from psycopg import sql

__all__ = ["setting_value", "split_setting"]

#: Settings whose stored value is a list of names, each quoted for itself; the same ones as in
#: pg_dump (`variable_is_guc_list_quote`). Given as one text they would be one odd name.
_LISTS: Final = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_ITEM: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?:,|$)')


def split_setting(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`."""
    name, _, value = text.partition("=")
    return name, value


def setting_value(name: str, value: str) -> sql.Composable:
    """Return what follows `SET name TO`, so that it is stored as it was."""
    if name.lower() not in _LISTS or not value.strip():
        return sql.Literal(value)
    items: list[str] = []
    at = 0
    while at < len(value):
        match = _ITEM.match(value, at)
        if match is None:
            # Nothing that PostgreSQL would have written.
            return sql.Literal(value)
        quoted, plain = match.groups()
        items.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end()
    return sql.SQL(", ").join(sql.Literal(item) for item in items)
