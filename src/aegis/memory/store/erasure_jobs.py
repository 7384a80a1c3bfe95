"""SQL over `memory_erasures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional
from aegis.memory.retention.erasure import Erasure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection

__all__ = [
    "add_to_job",
    "begin_job",
    "finish_job",
    "get_erasure",
    "list_erasures",
    "set_files",
    "set_signature",
    "set_stage",
]


_COLUMNS: LiteralString = """
    id, namespace, state, stage, subject, actor, counts, digests, files, verification, signature,
    started_at, finished_at
"""


async def begin_job(
    conn: Connection, *, subject: str, namespace: str | None, actor: str | None
) -> Erasure:
    """Begin an erasure, or go on with the one of this subject that was interrupted."""
    await conn.execute(
        """
        INSERT INTO memory_erasures (subject, namespace, actor, state, stage)
        VALUES (%(subject)s, %(namespace)s, %(actor)s, 'running', 'rows')
        ON CONFLICT (subject, coalesce(namespace, '')) WHERE state = 'running' DO NOTHING
        """,
        {"subject": subject, "namespace": namespace, "actor": actor},
    )
    return await fetch_one(
        conn,
        Erasure,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_erasures
        WHERE subject = %(subject)s
          AND coalesce(namespace, '') = coalesce(%(namespace)s, '')
          AND state = 'running'
        """,
        {"subject": subject, "namespace": namespace},
        missing="The erasure was finished by another process meanwhile.",
    )


async def get_erasure(conn: Connection, erasure_id: int) -> Erasure:
    """Return one erasure (`NotFound`)."""
    return await fetch_one(
        conn,
        Erasure,
        "SELECT " + _COLUMNS + "FROM memory_erasures WHERE id = %(id)s",
        {"id": erasure_id},
        missing=f"There is no erasure {erasure_id}.",
    )


async def list_erasures(conn: Connection, *, limit: int) -> list[Erasure]:
    """Return erasures, the newest first."""
    return await fetch_all(
        conn,
        Erasure,
        "SELECT " + _COLUMNS + "FROM memory_erasures ORDER BY id DESC LIMIT %(limit)s",
        {"limit": limit},
    )


async def add_to_job(
    conn: Connection, job: int, table: str, *, rows: int, digests: Sequence[str] = ()
) -> None:
    """Add to what a job has deleted of a table."""
    await execute(
        conn,
        """
        UPDATE memory_erasures
        SET counts = counts || jsonb_build_object(
                %(table)s::text, coalesce((counts ->> %(table)s)::bigint, 0) + %(rows)s
            ),
            digests = CASE
                WHEN %(digests)s::jsonb = '[]' THEN digests
                ELSE digests || jsonb_build_object(
                    %(table)s::text, coalesce(digests -> %(table)s, '[]') || %(digests)s::jsonb
                )
            END
        WHERE id = %(id)s
        """,
        {"id": job, "table": table, "rows": rows, "digests": Jsonb(list(digests))},
    )


async def set_stage(conn: Connection, job: int, stage: str) -> None:
    """Say what is being done."""
    await execute(
        conn,
        "UPDATE memory_erasures SET stage = %(stage)s WHERE id = %(id)s AND state = 'running'",
        {"id": job, "stage": stage},
    )


async def set_files(conn: Connection, job: int, files: Sequence[str]) -> None:
    """Say which replaced files are still to be removed."""
    await execute(
        conn,
        "UPDATE memory_erasures SET files = %(files)s WHERE id = %(id)s",
        {"id": job, "files": Jsonb(list(files))},
    )


async def finish_job(
    conn: Connection, job: int, *, verification: Mapping[str, Any]
) -> Erasure | None:
    """Complete a job that has no signature yet; None if another process did."""
    return await fetch_optional(
        conn,
        Erasure,
        """
        UPDATE memory_erasures
        SET state = 'complete',
            stage = 'done',
            verification = %(verification)s,
            finished_at = now()
        WHERE id = %(id)s
          AND state = 'running'
        RETURNING
        """
        + _COLUMNS,
        {"id": job, "verification": Jsonb(dict(verification))},
    )


async def set_signature(conn: Connection, job: int, signature: str) -> None:
    """Sign a complete job."""
    await execute(
        conn,
        "UPDATE memory_erasures SET signature = %(signature)s WHERE id = %(id)s",
        {"id": job, "signature": signature},
    )
