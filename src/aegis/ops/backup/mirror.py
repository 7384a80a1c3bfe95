"""The tables `backups` and `backup_drills`: the catalogue once more, for questions in SQL.

The folder is what counts. The tables follow it, and are only as new as the last time that the
database could be reached; a restored database has those of its snapshot until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.db.admin import admin_connection
from aegis.db.translate import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from aegis.ops.backup.models import Drill, Entry

__all__ = ["mirror"]


def mirror(dsn: str, entries: Sequence[Entry], drills: Sequence[Drill]) -> bool:
    """Make the tables say what the catalogue says; False where the schema has none yet."""
    with (
        translated(dsn=dsn),
        admin_connection(dsn, application_name="aegis-backup", transactions=True) as conn,
    ):
        conn.execute("SET LOCAL lock_timeout = '5s'")
        row = conn.execute(
            "SELECT to_regclass('backups') IS NOT NULL AND to_regclass('backup_drills') IS NOT NULL"
        ).fetchone()
        if row is None or not row[0]:
            return False
        conn.execute("DELETE FROM backups WHERE name <> ALL (%s)", ([e.name for e in entries],))
        for entry in entries:
            if entry.manifest is None:
                _note_damage(conn, entry)
            else:
                _upsert(conn, entry)
        if _knows_proofs(conn):
            for entry in entries:
                _note_proof(conn, entry)
        for drill in drills:
            _note_drill(conn, drill)
        conn.commit()
    return True


def _note_damage(conn: psycopg.Connection, entry: Entry) -> None:
    """Say of a backup whose manifest cannot be read any more that it failed."""
    conn.execute(
        """
        UPDATE backups
        SET verdict = 'failed',
            verified_level = NULL,
            problem = %(problem)s,
            noted_at = now()
        WHERE name = %(name)s
        """,
        {"name": entry.name, "problem": entry.damage},
    )


def _upsert(conn: psycopg.Connection, entry: Entry) -> None:
    manifest = entry.manifest
    assert manifest is not None
    looks = [look for look in (entry.state.fast, entry.state.full) if look is not None]
    newest = max(looks, key=lambda look: look.at) if looks else None
    values: dict[str, Any] = {
        "name": entry.name,
        "number": manifest.number,
        "label": manifest.label,
        "snapshot_at": manifest.snapshot_at,
        "finished_at": manifest.finished_at,
        "format": manifest.format,
        "compression": manifest.compression,
        "encrypted": manifest.encrypted,
        "bytes": manifest.bytes,
        "table_count": len(manifest.tables),
        "row_count": manifest.rows,
        "server_version": manifest.server_version,
        "schema_revision": manifest.schema_revision,
        "verdict": entry.verdict,
        "verified_level": entry.level,
        "verified_at": newest.at if newest else None,
        "problem": entry.problem,
        "hold": entry.state.hold,
        "local": entry.local,
        "copied_to": [copy.destination for copy in entry.state.copies],
    }
    conn.execute(
        """
        INSERT INTO backups (
            name, number, label, snapshot_at, finished_at, format, compression, encrypted, bytes,
            table_count, row_count, server_version, schema_revision, verdict, verified_level,
            verified_at, problem, hold, local, copied_to
        )
        VALUES (
            %(name)s, %(number)s, %(label)s, %(snapshot_at)s, %(finished_at)s, %(format)s,
            %(compression)s, %(encrypted)s, %(bytes)s, %(table_count)s, %(row_count)s,
            %(server_version)s, %(schema_revision)s, %(verdict)s, %(verified_level)s,
            %(verified_at)s, %(problem)s, %(hold)s, %(local)s, %(copied_to)s
        )
        ON CONFLICT (name) DO UPDATE SET
            verdict = excluded.verdict,
            verified_level = excluded.verified_level,
            verified_at = excluded.verified_at,
            problem = excluded.problem,
            hold = excluded.hold,
            local = excluded.local,
            copied_to = excluded.copied_to,
            noted_at = now()
        """,
        values,
    )


def _knows_proofs(conn: psycopg.Connection) -> bool:
    """Tell whether the table has a column for them: a backup before an upgrade meets older ones."""
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT
            FROM pg_attribute
            WHERE attrelid = 'backups'::regclass
              AND attname = 'proven_at'
              AND NOT attisdropped
        )
        """
    ).fetchone()
    return bool(row and row[0])


def _note_proof(conn: psycopg.Connection, entry: Entry) -> None:
    conn.execute(
        """
        UPDATE backups
        SET proven_at = %(at)s
        WHERE name = %(name)s
          AND proven_at IS DISTINCT FROM %(at)s
        """,
        {"name": entry.name, "at": entry.proven_at},
    )


def _note_drill(conn: psycopg.Connection, drill: Drill) -> None:
    conn.execute(
        """
        INSERT INTO backup_drills (
            started_at, backup, verdict, rto_s, rpo_s, source, detail
        )
        VALUES (
            %(started_at)s, %(backup)s, %(verdict)s, %(rto_s)s, %(rpo_s)s, %(source)s, %(detail)s
        )
        ON CONFLICT (started_at) DO NOTHING
        """,
        {
            "started_at": drill.started_at,
            "backup": drill.backup,
            "verdict": drill.verdict,
            "rto_s": drill.rto_s,
            "rpo_s": drill.rpo_s,
            "source": drill.source,
            "detail": drill.detail,
        },
    )
