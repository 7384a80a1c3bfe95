"""SQL about what stands around the log: guards, verifications, pgaudit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_optional, fetch_value
from aegis.security.audit.guards import Guard
from aegis.security.audit.models import Verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.security.audit.models import Verification

__all__ = [
    "guards",
    "insert_verification",
    "last_complete",
    "last_verification",
    "pgaudit",
    "settings",
]


async def guards(conn: Connection) -> dict[str, Guard]:
    """Return the triggers of our tables, by name."""
    cursor = await conn.execute(
        """
        SELECT
            t.tgname::text,
            t.tgrelid::regclass::text,
            p.proname::text,
            t.tgenabled::text,
            t.tgtype::integer,
            t.tgqual IS NULL AND cardinality(t.tgattr::smallint[]) = 0,
            p.prosrc
        FROM pg_trigger t
        JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid IN (
            'audit_log'::regclass, 'audit_head'::regclass, 'audit_seals'::regclass
        )
          AND NOT t.tgisinternal
        """
    )
    return {
        name: Guard(
            table=table,
            function=function,
            enabled=enabled,
            type=bits,
            unconditional=whole,
            source=source,
        )
        for name, table, function, enabled, bits, whole, source in await cursor.fetchall()
    }


async def pgaudit(conn: Connection) -> tuple[str | None, str | None, str]:
    """Return the version of pgaudit that there is, the one installed, and what is preloaded."""
    cursor = await conn.execute(
        """
        SELECT
            (SELECT default_version FROM pg_available_extensions WHERE name = 'pgaudit'),
            (SELECT extversion FROM pg_extension WHERE extname = 'pgaudit'),
            current_setting('shared_preload_libraries', true)
        """
    )
    row = await cursor.fetchone()
    return (None, None, "") if row is None else (row[0], row[1], row[2] or "")


async def settings(conn: Connection, names: Sequence[str]) -> dict[str, str]:
    """Return settings of the server that it knows, as they are here."""
    cursor = await conn.execute(
        """
        SELECT n.name, current_setting(n.name, true)
        FROM unnest(%(names)s::text[]) AS n (name)
        WHERE current_setting(n.name, true) IS NOT NULL
        """,
        {"names": list(names)},
    )
    return dict(await cursor.fetchall())


async def insert_verification(conn: Connection, found: Verification) -> None:
    """Write down what verifying found, and forget what is older than the last 400."""
    await execute(
        conn,
        """
        WITH added AS (
            INSERT INTO audit_verifications (
                complete, from_seq, through_seq, row_count, problem_count, warning_count,
                first_finding, elapsed_ms
            )
            VALUES (
                %(complete)s, %(from_seq)s, %(through_seq)s, %(rows)s, %(problems)s,
                %(warnings)s, %(first)s, %(elapsed_ms)s
            )
            RETURNING id
        )
        DELETE FROM audit_verifications v
        USING added
        WHERE v.id <= added.id - 400
        """,
        {
            "complete": found.complete,
            "from_seq": found.from_seq,
            "through_seq": found.through_seq,
            "rows": found.rows,
            "problems": found.problems,
            "warnings": found.warnings,
            "first": found.findings[0].text if found.findings else None,
            "elapsed_ms": found.elapsed_ms,
        },
    )


async def last_verification(conn: Connection) -> Verified | None:
    """Return what the last verification found."""
    return await fetch_optional(
        conn,
        Verified,
        """
        SELECT verified_at, complete, problem_count, warning_count, first_finding
        FROM audit_verifications
        ORDER BY id DESC
        LIMIT 1
        """,
    )


async def last_complete(conn: Connection) -> datetime | None:
    """Return when the whole chain was last verified."""
    return await fetch_value(
        conn, "SELECT max(verified_at) FROM audit_verifications WHERE complete"
    )
