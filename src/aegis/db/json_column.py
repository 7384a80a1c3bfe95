"""Reading JSON columns that anybody may have written: no value makes its row unreadable.

What Aegis writes is bounded, plain SQL is not: PostgreSQL takes objects thousands deep and numbers
of any length, and Python's reader, like everything that walks the value afterwards, gives up.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from psycopg.adapt import Loader
from psycopg.pq import Format

if TYPE_CHECKING:
    from psycopg.abc import Buffer

    from aegis.db.database import Connection

__all__ = ["READABLE_DEPTH", "read_json_safely"]

#: Deeper values come as text. More than may be recorded, and far from Python's recursion limit.
READABLE_DEPTH: Final = 128

#: OID of `jsonb`, the same on every server.
_JSONB: Final = 3802

_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]')


def read_json_safely(conn: Connection) -> None:
    """Make the connection's cursors read what cannot be parsed as `{"unparsed": its text}`."""
    if conn.adapters.get_loader(_JSONB, Format.TEXT) is not _JsonLoader:
        conn.adapters.register_loader("json", _JsonLoader)
        conn.adapters.register_loader("jsonb", _JsonLoader)


class _JsonLoader(Loader):
    def load(self, data: Buffer) -> Any:
        text = bytes(data)
        brackets = text.count(b"{") + text.count(b"[")
        if brackets > READABLE_DEPTH and _depth(text) > READABLE_DEPTH:
            return _unparsed(text)
        try:
            return json.loads(text)
        except ValueError:
            # A number of more digits than Python converts.
            return _unparsed(text)


def _depth(text: bytes) -> int:
    deepest = depth = 0
    for match in _TOKENS.finditer(text):
        first = match.group()[:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _unparsed(text: bytes) -> dict[str, str]:
    return {"unparsed": text.decode()}
