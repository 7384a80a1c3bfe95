"""SQL of `encrypted_columns`.

Whoever writes values of these columns holds the lock of their state shared, whoever changes a state
alone: so a writer's state stays true until it commits. The trigger on the columns takes it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.db import execute, fetch_all, fetch_value
from aegis.security.columns.models import EncryptedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "begin",
    "finish",
    "forget",
    "hold_state",
    "hold_work",
    "let_go_of_work",
    "list_columns",
    "lock_state",
    "missing_triggers",
    "note_verified",
    "retire_older",
    "set_key",
    "set_state",
]

_COLUMNS: Final = """
    c.table_name, c.column_name, c.state, c.key_id, c.older_keys, c.began_at, c.changed_at,
    c.verified_at, c.clear_values, c.damaged_values
"""


async def hold_state(conn: Connection) -> None:
    """Keep every state as it is until the transaction ends."""
    await execute(
        conn, "SELECT pg_advisory_xact_lock_shared(hashtextextended('aegis.encrypted_columns', 0))"
    )


async def lock_state(conn: Connection) -> None:
    """Wait until nobody writes values any more, and let nobody until the transaction ends."""
    # Shorter than PostgreSQL waits before it looks for a circle: in one, this transaction gives
    # way, and no writer's.
    await execute(conn, "SET LOCAL lock_timeout = '500ms'")
    await execute(
        conn, "SELECT pg_advisory_xact_lock(hashtextextended('aegis.encrypted_columns', 0))"
    )


async def hold_work(conn: Connection) -> bool:
    """Be the one that encrypts or decrypts, until the connection lets go; False for another one."""
    return await fetch_value(
        conn, "SELECT pg_try_advisory_lock(hashtextextended('aegis.encrypted_columns.work', 0))"
    )


async def let_go_of_work(conn: Connection) -> None:
    """End what `hold_work` began."""
    await execute(
        conn, "SELECT pg_advisory_unlock(hashtextextended('aegis.encrypted_columns.work', 0))"
    )


async def list_columns(conn: Connection, table: str | None = None) -> list[EncryptedColumn]:
    """Return the encrypted columns of a table, or all."""
    return await fetch_all(
        conn,
        EncryptedColumn,
        "SELECT "
        + _COLUMNS
        + """
        FROM encrypted_columns c
        WHERE %(table)s::text IS NULL
           OR c.table_name = %(table)s
        ORDER BY c.table_name, c.column_name
        """,
        {"table": table},
    )


async def begin(conn: Connection, table: str, column: str, key_id: str) -> None:
    """Have a column encrypted from now on; one that was being decrypted is encrypted again."""
    await execute(
        conn,
        """
        INSERT INTO encrypted_columns AS c (table_name, column_name, state, key_id)
        VALUES (%(table)s, %(column)s, 'encrypting', %(key)s)
        ON CONFLICT (table_name, column_name) DO UPDATE
        SET state = 'encrypting',
            changed_at = now()
        WHERE c.state = 'decrypting'
        """,
        {"table": table, "column": column, "key": key_id},
    )


async def set_state(conn: Connection, table: str, column: str, state: str) -> None:
    """Bring a column to another state."""
    await execute(
        conn,
        """
        UPDATE encrypted_columns
        SET state = %(state)s,
            changed_at = now()
        WHERE table_name = %(table)s
          AND column_name = %(column)s
          AND state <> %(state)s
        """,
        {"table": table, "column": column, "state": state},
    )


async def finish(conn: Connection, table: str, column: str) -> None:
    """Note that no clear value is left; nothing where the column is not being encrypted."""
    await execute(
        conn,
        """
        UPDATE encrypted_columns
        SET state = 'encrypted',
            changed_at = now()
        WHERE table_name = %(table)s
          AND column_name = %(column)s
          AND state = 'encrypting'
        """,
        {"table": table, "column": column},
    )


async def forget(conn: Connection, table: str, column: str) -> None:
    """Note that no encrypted value is left of a column that was decrypted."""
    await execute(
        conn,
        """
        DELETE FROM encrypted_columns
        WHERE table_name = %(table)s
          AND column_name = %(column)s
          AND state = 'decrypting'
        """,
        {"table": table, "column": column},
    )


async def set_key(conn: Connection, key_id: str) -> int:
    """Have every column encrypted by another key from now on, and remember the one before."""
    return await execute(
        conn,
        """
        UPDATE encrypted_columns
        SET older_keys = array_append(array_remove(older_keys, key_id), key_id),
            key_id = %(key)s,
            changed_at = now()
        WHERE key_id <> %(key)s
        """,
        {"key": key_id},
    )


async def retire_older(conn: Connection, table: str, column: str) -> None:
    """Note that every value of a column is encrypted by its newest key."""
    await execute(
        conn,
        """
        UPDATE encrypted_columns
        SET older_keys = '{}',
            changed_at = now()
        WHERE table_name = %(table)s
          AND column_name = %(column)s
          AND older_keys <> '{}'
        """,
        {"table": table, "column": column},
    )


async def note_verified(
    conn: Connection, table: str, column: str, *, clear: int, damaged: int
) -> None:
    """Note what decrypting every value has shown."""
    await execute(
        conn,
        """
        UPDATE encrypted_columns
        SET verified_at = now(),
            clear_values = %(clear)s,
            damaged_values = %(damaged)s
        WHERE table_name = %(table)s
          AND column_name = %(column)s
        """,
        {"table": table, "column": column, "clear": clear, "damaged": damaged},
    )


async def missing_triggers(conn: Connection, names: Sequence[str]) -> list[str]:
    """Return which of these triggers are not there, or switched off."""
    cursor = await conn.execute(
        """
        SELECT n.name
        FROM unnest(%(names)s::text[]) AS n (name)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger t
            WHERE t.tgname = n.name
              AND t.tgenabled IN ('O', 'A')
        )
        ORDER BY n.name
        """,
        {"names": [*names]},
    )
    return [row[0] for row in await cursor.fetchall()]
