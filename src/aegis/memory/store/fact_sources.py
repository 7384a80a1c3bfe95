"""SQL over `fact_sources`: who said a fact that several said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all
from aegis.memory.models import FactSource

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import Fact, NewFact

__all__ = ["add_source", "delete_sources_of_step", "list_sources"]


async def add_source(
    conn: Connection,
    fact_id: int,
    said: NewFact | Fact,
    *,
    namespace: str,
    recorded_at: datetime,
    step: int,
) -> None:
    """Keep who said a fact, and how."""
    await execute(
        conn,
        """
        INSERT INTO fact_sources (
            fact_id, namespace, source, source_id, content, confidence, recorded_at, step
        )
        VALUES (
            %(fact_id)s, %(namespace)s, %(source)s, %(source_id)s, %(content)s, %(confidence)s,
            %(recorded_at)s, %(step)s
        )
        """,
        {
            "fact_id": fact_id,
            "namespace": namespace,
            "source": said.source,
            "source_id": said.source_id,
            "content": said.content,
            "confidence": float(said.confidence),
            "recorded_at": recorded_at,
            "step": step,
        },
    )


async def delete_sources_of_step(conn: Connection, step: int) -> None:
    """Forget the sources that a step brought."""
    await execute(conn, "DELETE FROM fact_sources WHERE step = %(step)s", {"step": step})


async def list_sources(conn: Connection, fact_id: int) -> list[FactSource]:
    """Return the further sources of a fact, its own among them, the oldest first."""
    return await fetch_all(
        conn,
        FactSource,
        """
        SELECT source, source_id, content, confidence, recorded_at
        FROM fact_sources
        WHERE fact_id = %(id)s
        ORDER BY id
        """,
        {"id": fact_id},
    )
