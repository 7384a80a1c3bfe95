"""SQL of what points at rows that an erasure is about to delete, and of what was made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "blank_aliases",
    "blank_holds",
    "blank_model_errors",
    "blank_sessions",
    "clear_references",
    "leave_transcripts",
    "list_copies",
    "list_dependents",
    "list_put_aside",
    "list_transcripts",
    "read_again",
]

#: Ids are cast, so that many of them are compared by a hash table, not one by one.
#: By table: what is counted, and the statement that clears it.
_CLEARED: dict[str, tuple[tuple[str, LiteralString], ...]] = {
    "episodic_memory": (
        (
            "decision_outcomes.decision_id",
            """
            UPDATE decision_outcomes
            SET decision_id = NULL
            WHERE decision_id = ANY(%(ids)s::integer[])
            """,
        ),
        (
            "episodic_memory.related_memories",
            """
            UPDATE episodic_memory e
            SET related_memories = ARRAY(
                    SELECT r.id
                    FROM unnest(e.related_memories) WITH ORDINALITY AS r (id, place)
                    WHERE r.id <> ALL(%(ids)s::integer[])
                    ORDER BY r.place
                )
            WHERE e.related_memories && %(ids)s::integer[]
              AND e.id <> ALL(%(ids)s::integer[])
            """,
        ),
        # What was drafted from them quotes them, whether it names anybody or not.
        (
            "memory_proposals",
            """
            DELETE FROM memory_proposals
            WHERE id IN (
                -- One look-up in the index of sources for each: an overlap with many reads all.
                SELECT p.id
                FROM unnest(%(ids)s::integer[]) AS x (id)
                JOIN memory_proposals p ON p.sources @> ARRAY[x.id]
            )
            """,
        ),
        (
            "memory_quarantine",
            """
            DELETE FROM memory_quarantine
            WHERE source_table = 'episodic_memory'
              AND source_row_id = ANY(%(ids)s::integer[])
            """,
        ),
        ("graph_queue", "DELETE FROM graph_queue WHERE episode_id = ANY(%(ids)s::integer[])"),
    ),
    "semantic_memory": (
        (
            "semantic_memory.superseded_by",
            """
            UPDATE semantic_memory
            SET superseded_by = NULL
            WHERE superseded_by = ANY(%(ids)s::integer[])
            """,
        ),
        ("fact_history", "DELETE FROM fact_history WHERE fact_id = ANY(%(ids)s::integer[])"),
        ("fact_sources", "DELETE FROM fact_sources WHERE fact_id = ANY(%(ids)s::integer[])"),
        (
            "memory_proposals",
            "DELETE FROM memory_proposals WHERE fact_id = ANY(%(ids)s::integer[])",
        ),
        (
            "memory_quarantine",
            """
            DELETE FROM memory_quarantine
            WHERE source_table = 'semantic_memory'
              AND source_row_id = ANY(%(ids)s::integer[])
            """,
        ),
        ("graph_queue", "DELETE FROM graph_queue WHERE fact_id = ANY(%(ids)s::integer[])"),
    ),
    "decision_outcomes": (
        (
            "memory_quarantine",
            """
            DELETE FROM memory_quarantine
            WHERE source_table = 'decision_outcomes'
              AND source_row_id = ANY(%(ids)s::integer[])
            """,
        ),
    ),
}

#: What changes with a table though no foreign key says so: by a trigger, or above.
_ALSO: dict[str, tuple[str, ...]] = {
    "episodic_memory": ("memory_proposals", "memory_quarantine", "graph_queue"),
    "semantic_memory": ("fact_history", "memory_proposals", "memory_quarantine", "graph_queue"),
    "decision_outcomes": ("memory_quarantine",),
    "graph_relations": ("graph_entities", "episodic_memory"),
    "store_vectors": ("store_items",),
}


async def clear_references(
    conn: Connection, table: str, ids: Sequence[Any]
) -> tuple[dict[str, int], set[str]]:
    """Clear what points at rows that are about to go; return how much, and their namespaces."""
    params: dict[str, Any] = {"ids": list(ids)}
    cleared: dict[str, int] = {}
    for name, statement in _CLEARED.get(table, ()):
        cleared[name] = await execute(conn, statement, params)
    places: set[str] = set()
    if table == "episodic_memory":
        cursor = await conn.execute(
            "SELECT DISTINCT namespace FROM episodic_memory WHERE id = ANY(%(ids)s::integer[])",
            params,
        )
        places = {row[0] for row in await cursor.fetchall()}
    if table == "graph_entities":
        await read_again(conn, ids)
    return {name: rows for name, rows in cleared.items() if rows}, places


async def list_copies(conn: Connection, episodes: Sequence[int]) -> list[tuple[str, int]]:
    """Return (namespace, id) of these episodes that Graphiti has, or had, a copy of."""
    cursor = await conn.execute(
        """
        SELECT e.namespace, e.id
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::integer[])
          AND (
              e.graphiti_synced_at IS NOT NULL
              -- Changed since it was copied, or copied in part.
              OR EXISTS (SELECT FROM graphiti_failures f WHERE f.episode_id = e.id)
          )
        ORDER BY e.id
        """,
        {"ids": list(episodes)},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def list_put_aside(conn: Connection, entries: Sequence[int]) -> list[tuple[str, int]]:
    """Return (table, id) of the deleted rows that these entries of the quarantine hold."""
    cursor = await conn.execute(
        """
        SELECT source_table, source_row_id
        FROM memory_quarantine
        WHERE id = ANY(%(ids)s::integer[])
          AND action = 'deleted'
        ORDER BY id
        """,
        {"ids": list(entries)},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def read_again(conn: Connection, entities: Sequence[int]) -> None:
    """Let what mentions these entities be read again: it may speak of others by another name.

    The entities are locked in the order of ids, as everywhere.
    """
    params = {"ids": list(entities)}
    await execute(
        conn,
        "SELECT FROM graph_entities WHERE id = ANY(%(ids)s::integer[]) ORDER BY id FOR UPDATE",
        params,
    )
    await execute(
        conn,
        """
        INSERT INTO graph_queue (episode_id, fact_id)
        SELECT DISTINCT r.from_episode, r.from_fact
        FROM graph_relations r
        WHERE r.to_entity = ANY(%(ids)s::integer[])
          AND r.type = 'mentions'
          AND r.from_entity IS NULL
        """,
        params,
    )


async def blank_aliases(conn: Connection, kept: dict[int, list[str]]) -> int:
    """Leave entities these spellings alone; return how many entities changed."""
    changed = 0
    for entity_id, aliases in sorted(kept.items()):
        changed += await execute(
            conn,
            "UPDATE graph_entities SET aliases = %(aliases)s::text[] WHERE id = %(id)s",
            {"id": entity_id, "aliases": aliases},
        )
    return changed


async def blank_holds(
    conn: Connection, episode_ids: Sequence[int], *, namespace: str | None
) -> int:
    """Keep holds, and forget their reasons; return how many."""
    return await execute(
        conn,
        """
        UPDATE memory_holds h
        SET reason = '(erased)'
        FROM episodic_memory e
        WHERE h.episode_id = ANY(%(ids)s::integer[])
          AND e.id = h.episode_id
          AND (%(namespace)s::text IS NULL OR e.namespace = %(namespace)s)
        """,
        {"ids": list(episode_ids), "namespace": namespace},
    )


async def blank_model_errors(conn: Connection, models: Sequence[str]) -> int:
    """Take away the last error of embedding models; return how many had one."""
    return await execute(
        conn,
        "UPDATE embedding_models SET last_error = NULL WHERE model = ANY(%(models)s)",
        {"models": list(models)},
    )


async def blank_sessions(conn: Connection, sessions: Sequence[Any]) -> int:
    """Take what was said away from sessions, and leave what they cost; return how many.

    Their transcripts are not read again: they say it still.
    """
    return await execute(
        conn,
        """
        UPDATE claude_sessions
        SET user_id = NULL,
            command = NULL,
            metadata = NULL,
            title = NULL,
            cwd = NULL,
            end_reason = NULL,
            agent_type = NULL,
            model = NULL,
            transcript_path = NULL,
            transcript_due = false
        WHERE id = ANY(%(ids)s::uuid[])
        """,
        {"ids": list(sessions)},
    )


async def list_transcripts(
    conn: Connection, *, namespace: str | None, after: Any, limit: int
) -> list[tuple[Any, str]]:
    """Return (id, path) of sessions with a transcript, behind `after`, by id."""
    cursor = await conn.execute(
        """
        SELECT s.id, s.transcript_path
        FROM claude_sessions s
        WHERE s.transcript_path IS NOT NULL
          AND (%(namespace)s::text IS NULL OR s.namespace = %(namespace)s)
          AND (%(after)s::uuid IS NULL OR s.id > %(after)s)
        ORDER BY s.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after": after, "limit": limit},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def leave_transcripts(conn: Connection, sessions: Sequence[tuple[Any, int]]) -> int:
    """Forget where the transcripts of these sessions are, (id, size): only what is added is read.

    A session that goes on names its transcript again.
    """
    return await execute(
        conn,
        """
        UPDATE claude_sessions s
        SET transcript_path = NULL,
            transcript_due = false,
            transcript_offset = greatest(s.transcript_offset, t.size)
        FROM unnest(%(ids)s::uuid[], %(sizes)s::bigint[]) AS t (id, size)
        WHERE s.id = t.id
        """,
        {"ids": [s[0] for s in sessions], "sizes": [s[1] for s in sessions]},
    )


async def list_dependents(conn: Connection, tables: Sequence[str]) -> set[str]:
    """Return these tables and all whose rows are deleted or changed with theirs."""
    found = {*tables}
    waiting = [*tables]
    while waiting:
        table = waiting.pop()
        cursor = await conn.execute(
            """
            SELECT c.conrelid::regclass::text
            FROM pg_constraint c
            WHERE c.contype = 'f'
              AND c.confrelid = %(table)s::regclass
            """,
            {"table": table},
        )
        near = {row[0] for row in await cursor.fetchall()} | {*_ALSO.get(table, ())}
        waiting += near - found
        found |= near
    return found
