"""Tables that are filled before their index of vectors is built."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Generator

    import psycopg


@contextmanager
def indexed_afterwards(conn: psycopg.Connection, index: LiteralString) -> Generator[None]:
    """Fill without the index, then build it: row by row takes many times as long."""
    row = conn.execute("SELECT pg_get_indexdef(%s::regclass)", (index,)).fetchone()
    assert row is not None
    conn.execute(f"DROP INDEX {index}")
    yield
    conn.execute(row[0])
