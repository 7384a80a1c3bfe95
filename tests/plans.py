"""Plans of statements as the code sends them: which indexes they use, how much they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aegis.db import Connection

__all__ = ["Plan", "plans_of"]


@dataclass(frozen=True)
class Plan:
    """What PostgreSQL did for one statement."""

    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])

    @property
    def scanned(self) -> set[str]:
        """Return the tables that were read from end to end."""
        return {
            node["Relation Name"]
            for node in self.nodes()
            if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan") and node["Actual Loops"]
        }

    @property
    def indexes(self) -> set[str]:
        """Return the indexes that were looked into."""
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node}

    @property
    def pages(self) -> int:
        """Return the pages that were read, in memory or not."""
        return self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]


async def plans_of(conn: Connection, call: Callable[[Connection], Awaitable[object]]) -> list[Plan]:
    """Return the plans of what `call` sends, run and taken back each before it is run for good."""
    found: list[Plan] = []

    class Explaining(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            explaining = psycopg.AsyncCursor(self.connection, row_factory=tuple_row)
            # As bytes it is sent as it is, whoever wrote it.
            text: bytes = str(query).encode()
            await explaining.execute("SAVEPOINT explained")
            await explaining.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text, params)
            row = await explaining.fetchone()
            assert row is not None
            found.append(Plan(row[0][0]["Plan"]))
            await explaining.execute("ROLLBACK TO SAVEPOINT explained")
            sent: Any = query
            return await super().execute(sent, params, **options)

    before, conn.cursor_factory = conn.cursor_factory, Explaining
    try:
        await call(conn)
    finally:
        conn.cursor_factory = before
    return found
